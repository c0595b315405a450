// cytovae as Nextflow processes: one model of all files, every file assigned by itself, abundances joined.
//
//     nextflow run cytovae.nf --files 'data/*.fcs' --outdir results -profile docker
//     nextflow run cytovae.nf --files 'data/*.fcs' --outdir results -profile slurm -resume
//
// In another pipeline: include { TRAIN; ASSIGN } from './cytovae.nf'

params.files = null
params.outdir = 'results'
params.seed = 0
params.max_events_per_file = 10000
params.train_options = ''
params.assign_options = ''

process TRAIN {
    label 'train'
    publishDir params.outdir, mode: 'copy'

    input:
    path files

    output:
    path 'model'

    script:
    """
    cytovae train ${files} --output model --seed ${params.seed} \\
        --max-events-per-file ${params.max_events_per_file} --sampling equal \\
        --threads ${task.cpus} ${params.train_options}
    """

    stub:
    """
    mkdir model
    """
}

process ASSIGN {
    label 'assign'
    tag "${fcs.baseName}"
    publishDir "${params.outdir}/assigned", mode: 'copy'

    input:
    path model
    path fcs

    output:
    path "${fcs.baseName}/cells.parquet", emit: cells
    path "${fcs.baseName}/abundance.csv", emit: abundance
    path "${fcs.baseName}/cluster_medians.csv", emit: medians

    script:
    """
    mkdir '${fcs.baseName}'
    cytovae assign ${model} ${fcs} --output '${fcs.baseName}/cells.parquet' --tables '${fcs.baseName}' \\
        --threads ${task.cpus} ${params.assign_options}
    """

    stub:
    """
    mkdir '${fcs.baseName}'
    touch '${fcs.baseName}/cells.parquet' '${fcs.baseName}/abundance.csv' '${fcs.baseName}/cluster_medians.csv'
    """
}

process REPORT {
    label 'report'
    publishDir params.outdir, mode: 'copy'

    input:
    path model
    path files

    output:
    path 'report.html'

    script:
    """
    cytovae report ${model} ${files} --output report.html --threads ${task.cpus}
    """

    stub:
    """
    touch report.html
    """
}

workflow {
    if (!params.files) {
        error "name the FCS files: --files 'data/*.fcs'"
    }
    files = Channel.fromPath(params.files, checkIfExists: true)
    all = files.toSortedList { a, b -> a.name <=> b.name }
    model = TRAIN(all)
    ASSIGN(model.first(), files)
    ASSIGN.out.abundance.collectFile(name: 'abundance.csv', storeDir: params.outdir, keepHeader: true, sort: { it.text })
    REPORT(model, all)
}
