"""The site file: where tasks run, described once for a cluster and used with any campaign."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Kind = Literal["core", "potential", "dft"]
"""What a task needs: the core's own packages, a potential's environment, or a DFT code."""

KINDS: Final[tuple[Kind, ...]] = ("core", "potential", "dft")

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError("expected one line; write several lines as a list")
    return text


def _word(text: str) -> str:
    if not text or any(character.isspace() for character in text):
        raise ValueError("expected one word, as Slurm uses it")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
Word = Annotated[str, AfterValidator(_word)]
Lines = Annotated[tuple[Line, ...], Field(strict=False)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )


class Queue(_Section):
    """How a job is requested; what a kind of task leaves out is taken from the top of the file."""

    partition: Word | None = Field(default=None, description="Partition; the cluster's default if left out.")
    account: Word | None = Field(default=None, description="Account to charge.")
    qos: Word | None = Field(default=None, description="Quality of service.")
    constraint: Word | None = Field(default=None, description="Features that a node must have.")
    sbatch: Lines = Field(
        default=(), description="Further options of sbatch, one a line, e.g. `--exclusive`; added to those above it."
    )
    setup: Lines = Field(
        default=(), description="Shell lines run first on each node, e.g. `module load cuda`; added to those above it."
    )


class Block(Queue):
    """A job whose workers run tasks of a kind, one after the other, until its time is up."""

    nodes: Count = Field(default=1, description="Nodes of one job.")
    workers_per_node: Count = Field(default=1, description="Tasks that run at once on a node.")
    cores_per_worker: Count = Field(default=1, description="Cores of each worker.")
    memory_per_worker_GB: Positive | None = Field(
        default=None, description="Memory of each worker; the cluster's default if left out."
    )
    gpus_per_node: CountOrZero = Field(
        default=0,
        description="GPUs requested; each worker sees exactly one, so there can be no more workers than GPUs.",
    )
    walltime_h: Positive = Field(default=1.0, description="Time limit of one job, in hours.")
    longest_task_h: Positive | None = Field(
        default=None,
        description="A job starts no task in this last part of its walltime, so that it can finish what it starts. "
        "[default: a quarter of the walltime, one hour at most]",
    )
    min_jobs: CountOrZero = Field(
        default=0, description="Jobs kept running, idle or not, once the first task of the kind has arrived."
    )
    max_jobs: Count = Field(default=1, description="Largest number of jobs at a time.")
    threads: Count | None = Field(
        default=None, description="Threads of a worker; the campaign's `threads_per_worker` if left out."
    )
    mpi_launch: Line | None = Field(
        default=None,
        description="Put before the command of VASP (SUPERIONIC_VASP), e.g. `srun -n 16`; the job then asks for as "
        "many tasks as cores.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.gpus_per_node and self.workers_per_node > self.gpus_per_node:
            raise ValueError(
                f"{self.workers_per_node} workers cannot each have one of {self.gpus_per_node} GPUs: "
                "lower `workers_per_node`, or raise `gpus_per_node`"
            )
        if self.longest_task_h is not None and self.longest_task_h >= self.walltime_h:
            raise ValueError("`longest_task_h` must be below `walltime_h`: no task could ever start")
        if self.min_jobs > self.max_jobs:
            raise ValueError("`min_jobs` is above `max_jobs`")
        return self

    @property
    def drain_s(self) -> int:
        """Time after its start when a job stops starting tasks, in s."""
        longest = self.longest_task_h if self.longest_task_h is not None else min(1.0, self.walltime_h / 4.0)
        return max(1, round((self.walltime_h - longest) * 3600.0))

    @property
    def cores_per_node(self) -> int:
        """Cores requested on each node."""
        return self.workers_per_node * self.cores_per_worker

    @property
    def workers(self) -> int:
        """Number of workers when all jobs run."""
        return self.max_jobs * self.nodes * self.workers_per_node


class Driver(Queue):
    """The job that `superionic submit` submits: it runs the campaign until its time is up, then a successor does."""

    walltime_h: Annotated[float, Field(gt=0.05)] = Field(default=24.0, description="Time limit, in hours.")
    cores: Count = Field(default=1, description="Cores.")
    memory_GB: Positive | None = Field(default=None, description="Memory; the cluster's default if left out.")
    followers: CountOrZero = Field(default=50, description="Largest number of successors of the driver.")


class Kinds(_Section):
    """Jobs by the tasks that they run; the tasks of a kind that is left out run in the jobs of `core`."""

    core: Block = Field(description="Enumeration, hulls, pair potentials, analysis; and the kinds left out below.")
    potential: Block | None = Field(default=None, description="Machine-learned potentials: relaxations, MD, training.")
    dft: Block | None = Field(default=None, description="DFT codes: GPAW, VASP, tblite.")


class Site(_Section):
    """A whole site file."""

    superionic_site: Literal[1] = Field(description="Format of this file.")
    preset: str | None = Field(default=None, description="Preset for what the file leaves out.")
    scheduler: Literal["slurm", "local"] = Field(
        default="slurm", description="`local` runs the jobs as processes of this machine, for a trial."
    )
    pool: Word = Field(default="parsl", description="Pool of workers: `parsl`, `processes`, or that of a plugin.")
    queue: Queue = Field(default=Queue(), description="Partition, account, set-up lines, … of all jobs.")
    kinds: Kinds = Field(description="The jobs that run tasks, by kind of task.")
    driver: Driver = Field(default=Driver(), description="The job that `superionic submit` submits.")
    scratch: Line = Field(
        default="${SLURM_TMPDIR:-${TMPDIR:-/tmp}}",
        description="Folder for scratch on each node's own disk; shell variables are expanded.",
    )
    superionic_home: Line | None = Field(
        default=None, description="Folder of the engines on the nodes.  [default: that on this machine]"
    )
    pack_engines: bool = Field(
        default=False,
        description="Copy an engine's environment to a node's own disk, as one archive, when the node first needs it.",
    )
    durable: bool | None = Field(
        default=None, description="Wait until the disk has each result; the campaign's `durable` if left out."
    )
    visibility_s: Positive = Field(
        default=90.0,
        description="How long to wait for the file system to show a result that a node has written.",
    )
    progress_every_s: Positive = Field(default=10.0, description="Interval at which a task writes its progress, in s.")
    poll_s: Positive = Field(default=15.0, description="Interval at which the scheduler is queried about jobs, in s.")
    heartbeat_s: Annotated[int, Field(ge=1, le=60)] = Field(
        default=5, description="Interval between heartbeats of a node, in s; a node that misses three is lost."
    )
    refusals: Count = Field(default=5, description="Number of consecutive refused or fruitless jobs that ends the run.")
    address: Word | None = Field(
        default=None, description="Address at which nodes reach the driver's machine.  [default: all its addresses]"
    )

    def block(self, kind: Kind) -> tuple[Kind, Block]:
        """Return the kind whose section describes the jobs for a kind of task, and that section."""
        block = getattr(self.kinds, kind)
        return (kind, block) if block is not None else ("core", self.kinds.core)

    def queue_of(self, job: Queue) -> Queue:
        """Return how a job is requested, with what it leaves out taken from the top of the file."""
        return Queue(
            partition=job.partition or self.queue.partition,
            account=job.account or self.queue.account,
            qos=job.qos or self.queue.qos,
            constraint=job.constraint or self.queue.constraint,
            sbatch=(*self.queue.sbatch, *job.sbatch),
            setup=(*self.queue.setup, *job.setup),
        )

    @property
    def workers(self) -> int:
        """Number of workers when all jobs of all kinds run."""
        return sum(block.workers for kind in KINDS for name, block in [self.block(kind)] if name == kind)
