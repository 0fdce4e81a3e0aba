"""Sites: machines past this one, on which tasks run from a *site file* of the user, never from the campaign.

:mod:`.site_file` is what the user writes, :mod:`.base` the seam between a campaign and whatever hands tasks out,
:mod:`.parsl_engine` the pilot jobs of Parsl behind it, :mod:`.slurm` the commands of Slurm, :mod:`.node` what runs on
the node.
"""
