"""HTML pages that open offline, each one file: Jinja2's templates, every value of them escaped."""

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tracking.pages.plot_layout import DENSE, FAINT, FRONT, LIMIT, MEAN

_FOLDER = files("tracking.pages") / "templates"


def _source(script: str) -> Markup:
    """Return a script of `templates/` as it is."""
    return Markup((_FOLDER / script).read_text("utf-8"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tracking.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals["plotlyjs"] = get_plotlyjs
    environment.globals["source"] = _source
    environment.globals["colors"] = {
        "front": FRONT,
        "faint": FAINT,
        "dense": DENSE,
        "limit": LIMIT,
        "mean": MEAN,
    }
    return environment


_ENVIRONMENT = _environment()


def render(template: str, **values: object) -> Markup:
    """Return a file of `templates/` with its values, as HTML.

    Text among the values is escaped; what is HTML already is of type Markup. Plotly's script
    (4.7 MB) is a part of the templates that include `figures.html.j2`.

    Raises:
        jinja2.UndefinedError: a value that the template shows is missing.
    """
    return Markup(_ENVIRONMENT.get_template(template).render(values))


def percentage(part: float, total: float) -> str:
    """Return a share as a length in CSS."""
    return f"{100 * part / total:.4g}%"


BEGINNING = str(render("beginning.html.j2"))  # of every page
