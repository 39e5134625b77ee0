"""`paring report`: a page for a colleague on the best model for a device or a budget."""

from omegaconf import DictConfig

from pruning.budget import parse_margin
from search.api.opened import study_of
from search.cli.app import verb
from search.cli.options import choose, place, wanted
from search.errors import ConfigError
from search.results.model_report import PDF, model_report, write_report
from tracking.pages.printing import browser

FORMATS = ("html", "pdf")


@verb("report")
def main(config: DictConfig) -> None:
    """Run the verb."""
    form = choose(config.format, "format", FORMATS)
    path = place(config.out or f"report.{form}", config)
    if (path.suffix.lower() == PDF) != (form == "pdf"):
        raise ConfigError(f"out={config.out}: format={form} needs a name that ends in .{form}")
    limits, device = wanted(config)
    margin = parse_margin(config.margin)
    if form == "pdf":
        browser()  # if there is none, that is said before the work is done
    page = model_report(study_of(config), limits, device, margin)
    print(f"written: {write_report(path, page)}")
