"""A stored network as files in another form, without the study that it is from."""

from pathlib import Path

from pruning.export.files import digest_of, write_all
from pruning.export.formats import Format, Source
from pruning.export.stored_model import MODEL
from pruning.training.checkpoint import unpack_network

README = "README.md"


def write_network(
    content: bytes, folder: Path, form: Format, name: str, origin: str
) -> tuple[Path, ...]:
    """Write a network into a folder, in place of what an earlier call wrote there.

    Args:
        content: the file of the network, as `pack_network` makes it.
        folder: is made where it does not exist; files of others stay.
        form: the form.
        name: what all names of generated C begin with.
        origin: where the network is from, in words, for generated C.

    Returns:
        The files, each whole: the network, and a README.md that says how to use it.

    Raises:
        CheckpointError: the content is no network, or damaged. DeployError: the network has no
            such form. OutputError: a file of somebody else is in the way.
    """
    network = unpack_network(content)
    source = Source(name, ("", origin, f"{MODEL}: {digest_of(content)}"))
    notes = network.notes
    told = f"{notes['metric']} {notes['score']:.4f} on {notes['data']['name']}"
    usage = form.usage.format(name=name, NAME=name.upper())
    files = {
        **form.files(network, content, source),
        README: f"# {name}\n\n{told} ({notes['precision']}). {origin}\n\n{usage}".encode(),
    }
    write_all(folder, files)
    return tuple(folder / file for file in files)
