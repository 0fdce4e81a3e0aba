"""Sites: other machines on which tasks run, described by a *site file* of the user and never by the campaign.

:mod:`.site_file` defines that file, :mod:`.base` the interface between a campaign and a pool of workers,
:mod:`.parsl_engine` the pool of Parsl's pilot jobs, :mod:`.slurm` the commands of Slurm, and :mod:`.node` what runs on
a node.
"""
