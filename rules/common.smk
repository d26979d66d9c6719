import gc

from consilience.config import load_study, use_clone
from consilience.config.cluster import odd_settings
from consilience.config.origins import Origins, place_results
from consilience.config.plan import Plan
from consilience.config.wildcards import share_settings
from consilience.errors import ConsilienceError
from consilience.logs import FailureTeller
from consilience.together import forget, list_jobs
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

use_clone(workflow.basedir)

# Planning makes millions of small objects that live to its end: looking for garbage among them at
# Python's own pace takes a tenth of the time.
gc.set_threshold(100_000, 50, 50)

try:
    ORIGINS = Origins.read(workflow.configfiles, workflow.config_settings.config)
    STUDY = load_study(ORIGINS.config, ORIGINS)
    RESULTS = place_results(STUDY.settings, ORIGINS)
except ConsilienceError as error:
    raise WorkflowError(str(error)) from None

# What the study is, where its files lie, and what it makes: rules ask these three.
PLAN = Plan(
    STUDY,
    RESULTS,
    ORIGINS,
    installed=not workflow.deployment_settings.deployment_method,
)
config.update(STUDY.settings)  # scripts find the defaults too

if workflow.is_main_process and workflow.output_settings.quiet:
    logger.addHandler(FailureTeller())

if workflow.is_main_process:
    for sentence in odd_settings(workflow.executor_settings):
        logger.warning(sentence)


# Jobs take seconds to start and often less to do their work: one that is up goes on with the files
# of others of its kind, where `consilience/jobs/` has that kind.
onstart:
    if workflow.is_main_process and workflow.local_exec:
        list_jobs(workflow.dag.needrun_jobs())


onsuccess:
    forget()


onerror:
    forget()


# Rules that one name stands for: what is set for `train` holds for the jobs of all recipes.
share_settings(workflow.resource_settings, PLAN.named_alike)

# No parameter of a job says `fresh`, or the next run would find another one and make all once more.
if STUDY.settings["fresh"] and workflow.is_main_process:
    logger.warning(
        "fresh: jobs that run take no pair from earlier runs, and none runs for that alone; "
        "add `--forcerun similarity similarity_shard alignment`, or the files to make again."
    )


# One pattern for all ids: alternatives of a thousand names would be tried for every file.
wildcard_constraints:
    **dict.fromkeys(
        ["dataset", "model", "metric", "sharing", "shard", "split"], PLAN.id
    ),
