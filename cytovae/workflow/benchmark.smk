# Runs every method, data set and seed of a benchmark in its own job, then writes the tables.
#
#     snakemake --cores 2                             on this machine, two jobs at a time
#     snakemake --executor slurm --jobs 100           on a cluster (pip install snakemake-executor-plugin-slurm)
#
# Short jobs can share a cluster job: --groups job=jobs --group-components jobs=20. After a crash or a kill, repeat the
# command with --rerun-incomplete. If Snakemake reports that the folder is locked, run it once with --unlock first.
# Finished jobs are not repeated. Settings are in config.yaml.

import csv
import shlex

configfile: "config.yaml"

with open("jobs.csv", encoding="utf-8", newline="") as planned:
    NUMBER = {row["key"]: row["number"] for row in csv.DictReader(planned)}  # stem of the results file -> number of the job

# Paths in the arguments are relative to the folder in which the workflow was written.
BENCHMARK = (
    f"cd {shlex.quote(config['folder'])} && "
    f"{config['cytovae']} benchmark {shlex.join(config['arguments'])} --output {shlex.quote(config['results'])}"
)


localrules: all, tables


wildcard_constraints:
    key=r"[A-Za-z0-9_+-]+",


rule all:
    input:
        "results/table.md",


rule job:
    output:
        "results/rows/{key}.json",
    params:
        number=lambda wildcards: NUMBER[wildcards.key],
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt * config["mem_mb"],
        runtime=config["minutes"],
    benchmark:
        "benchmarks/{key}.tsv"
    log:
        "logs/{key}.log",
    shell:
        "log=$PWD/{log}; {BENCHMARK} --job {params.number} 2> $log"


rule tables:
    # All jobs are finished, so the same command only writes the tables.
    input:
        expand("results/rows/{key}.json", key=NUMBER),
    output:
        "results/table.md",
        "results/results.parquet",
    log:
        "logs/tables.log",
    shell:
        "log=$PWD/{log}; {BENCHMARK} > $log 2>&1"
