"""``mrfpipe reconstruct``: scans to maps by a network."""

from pathlib import Path

import click

from .options import INPUT, Settings, common_options, dicom_option


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=INPUT, metavar="RAW...")
@click.option("-o", "--output", type=INPUT, required=True, metavar="OUT", help="Folder for one result folder a scan.")
@click.option("--model", type=INPUT, required=True, metavar="MODEL", help="Network written by `train`.")
@click.option("--bids", is_flag=True, help="Write the images as a BIDS derivative dataset.")
@dicom_option
@common_options
def command(settings: Settings, inputs: tuple[Path, ...], output: Path, model: Path, bids: bool, dicom: bool) -> None:
    """Turn each RAW, a raw scan (ISMRMRD) or a frames file, into quantitative maps by a trained network.

    Writes OUT/SCAN/ as `match` does.

    Example: mrfpipe reconstruct thigh.h5 --model model -o results
    """
    from mrfpipe.files.dicom import require_highdicom
    from mrfpipe.jobs import Record, summarise, write_result
    from mrfpipe.learning.model import load_model
    from mrfpipe.pipeline import load_truth, model_protocol, reconstruct_scan

    from .output import result_folders

    if dicom:
        require_highdicom()
    device = settings.device()
    folders = result_folders(inputs, output, force=settings.force)
    loaded = load_model(model, device)
    for path, folder in folders.items():
        record = Record(command=settings.command)
        maps = reconstruct_scan(path, loaded, device, settings.progress)
        provenance = record.provenance(
            inputs=[path, model],
            protocol=model_protocol(loaded),
            method=f"convolutional network ({loaded.architecture.n_parameters:,} parameters)",
            device=str(device),
        )
        truth = load_truth(path)
        write_result(folder, maps, provenance, truth=truth, bids=bids, dicom=dicom, force=settings.force)
        click.echo(f"{folder}: {summarise(maps, provenance)}")
    settings.say(f"next: mrfpipe evaluate {folder} REFERENCE")
