# Trains one model on all files, assigns each file in its own job, then joins the abundances and writes a report.
#
#     snakemake --cores 2                             on this machine, two jobs at a time
#     snakemake --executor slurm --jobs 100           on a cluster (pip install snakemake-executor-plugin-slurm)
#
# After a crash or a kill, repeat the command with --rerun-incomplete. If Snakemake reports that the folder is locked,
# run it once with --unlock first. Finished jobs are not repeated. Settings are in config.yaml; --config seed=1 changes
# one for a single run.

import csv

configfile: "config.yaml"

with open(config["samples"], encoding="utf-8", newline="") as sheet:
    FCS = {row["name"]: row["file"] for row in csv.DictReader(sheet)}  # name of the file -> its path


def watched(paths):
    """The files whose changes Snakemake notices. It takes braces in a name for a wildcard and has no escape for them."""
    return [path for path in paths if "{" not in path]


MODEL = [f"model/{part}" for part in ("model.safetensors", "model.json", "history.parquet", "landmarks.parquet", "run.json")]


localrules: all, abundance


wildcard_constraints:
    name=r"[A-Za-z0-9._-]+",


rule all:
    input:
        "abundance.csv",
        "report.html",


rule train:
    # On a random sample: at most max_events_per_file events of each file, and 200,000 in all.
    input:
        watched(FCS.values()),
    output:
        MODEL,
    params:
        seed=config["seed"],
        cap=config["max_events_per_file"],
        sampling=config["sampling"],
        device=config["device"],
        options=config["train_options"],
    threads: config["train_threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt * config["train_mem_mb"],
        runtime=config["train_minutes"],
    benchmark:
        "benchmarks/train.tsv"
    log:
        "logs/train.log",
    shell:
        """
        mapfile -t files < files.txt
        {config[cytovae]} train "${{files[@]}}" --output model --force \\
            --seed {params.seed} --max-events-per-file {params.cap} --sampling {params.sampling} \\
            --threads {threads} --device {params.device} {params.options} 2> {log}
        """


rule assign:
    input:
        MODEL,
        lambda wildcards: watched([FCS[wildcards.name]]),
    output:
        cells="assigned/{name}/cells.parquet",
        abundance="assigned/{name}/abundance.csv",
        medians="assigned/{name}/cluster_medians.csv",
    params:
        fcs=lambda wildcards: FCS[wildcards.name],
        device=config["device"],
        options=config["assign_options"],
    threads: config["assign_threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt * config["assign_mem_mb"],
        runtime=config["assign_minutes"],
    benchmark:
        "benchmarks/assign/{name}.tsv"
    log:
        "logs/assign/{name}.log",
    shell:
        """
        {config[cytovae]} assign model {params.fcs:q} --output {output.cells} --tables assigned/{wildcards.name} --force \\
            --threads {threads} --device {params.device} {params.options} 2> {log}
        """


rule abundance:
    input:
        expand("assigned/{name}/abundance.csv", name=FCS),
        samples=config["samples"],
    output:
        "abundance.csv",
    benchmark:
        "benchmarks/abundance.tsv"
    log:
        "logs/abundance.log",
    shell:
        "{config[cytovae]} workflow gather assigned --samples {input.samples:q} --output {output} --force 2> {log}"


rule report:
    input:
        MODEL,
        watched(FCS.values()),
    output:
        "report.html",
    params:
        device=config["device"],
        options=config["report_options"],
    threads: config["report_threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt * config["report_mem_mb"],
        runtime=config["report_minutes"],
    benchmark:
        "benchmarks/report.tsv"
    log:
        "logs/report.log",
    shell:
        """
        mapfile -t files < files.txt
        {config[cytovae]} report model "${{files[@]}}" --output {output} --force \\
            --threads {threads} --device {params.device} {params.options} 2> {log}
        """
