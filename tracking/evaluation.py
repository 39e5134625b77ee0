"""How the answers of a trial's network compare with the truth: records, stored with the trial.

They are of one split of the data each, and of three kinds, as tasks are: classes, numbers, and
anomalies that an autoencoder gives back badly.
"""

from dataclasses import dataclass
from math import hypot

VALIDATION, TEST = "validation", "test"  # splits
Share = float | None  # None: of nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A sample as a PNG file of eight bits, grey or in colour.

    Black is the value `low`, white is `high`: 0 and 255 for photographs, else the sample's own
    extremes. A pixel is the mean of `reduced` x `reduced` of the sample's.
    """

    png: bytes
    low: float
    high: float
    reduced: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A sample as lines, one a channel.

    Of a long one, the smallest and the largest value of each part are kept, in their order.
    `length` is the number of values a channel that the sample has, `channels` how many it has.
    """

    series: tuple[tuple[float, ...], ...]
    length: int
    channels: int


Sample = Picture | Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """The answers whose confidence lies in (lower, upper]: their mean confidence, and the share
    of them that is right; both None where there are none.
    """

    lower: float
    upper: float
    count: int
    confidence: Share
    accuracy: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A wrong answer. `index` is the sample's place in the split, `target` and `answer` are
    positions among the classes, `confidence` and `probability` are those of the answer and of
    the target.
    """

    index: int
    target: int
    answer: int
    confidence: float
    probability: float
    sample: Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The answers of a network that tells classes apart.

    `cells` are those of the confusion matrix that are not 0: (class, answer, samples), sorted.
    Confidence is the softmax of the outputs. `mistakes` are the worst: the wrong answers of
    largest confidence, at most twenty.

    Example:
        >>> evaluation.recall[evaluation.classes.index("7")]  # doctest: +SKIP
        0.972
    """

    split: str
    samples: int
    classes: tuple[str, ...]
    cells: tuple[tuple[int, int, int], ...]
    calibration: tuple[CalibrationBin, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Samples by class (rows) and answer (columns)."""
        rows = [[0] * len(self.classes) for _ in self.classes]
        for target, answer, count in self.cells:
            rows[target][answer] = count
        return tuple(map(tuple, rows))

    @property
    def support(self) -> tuple[int, ...]:
        """The samples of each class."""
        return self._sums(0)

    @property
    def answered(self) -> tuple[int, ...]:
        """How often each class was the answer."""
        return self._sums(1)

    @property
    def correct(self) -> tuple[int, ...]:
        """The right answers of each class."""
        hits = {target: count for target, answer, count in self.cells if target == answer}
        return tuple(hits.get(number, 0) for number in range(len(self.classes)))

    @property
    def precision(self) -> tuple[Share, ...]:
        """For each class the share of its answers that is right."""
        return tuple(map(_share, self.correct, self.answered))

    @property
    def recall(self) -> tuple[Share, ...]:
        """For each class the share of its samples that is found."""
        return tuple(map(_share, self.correct, self.support))

    @property
    def accuracy(self) -> float:
        """The share of the samples whose answer is right."""
        return sum(self.correct) / self.samples

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: the mean over the samples of how far the confidence of
        a bin is from the share of its answers that is right.
        """
        gaps = (
            one.count * abs(one.confidence - one.accuracy)
            for one in self.calibration
            if one.confidence is not None and one.accuracy is not None
        )
        return sum(gaps) / self.samples

    def _sums(self, axis: int) -> tuple[int, ...]:
        sums = [0] * len(self.classes)
        for cell in self.cells:
            sums[cell[axis]] += cell[2]
        return tuple(sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts of values between ascending `edges`, of which there is one more."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """How one number is missed: residuals are answers less targets.

    `bias` is their mean, `spread` their standard deviation, `absolute` the mean of their sizes.
    `points` are (target, answer) of samples evenly over the split.
    """

    name: str
    bias: float
    spread: float
    absolute: float
    histogram: Histogram
    points: tuple[tuple[float, float], ...]

    @property
    def root_mean_square(self) -> float:
        """The root of the mean squared residual."""
        return hypot(self.bias, self.spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A sample whose numbers were missed by much."""

    index: int
    targets: tuple[float, ...]
    answers: tuple[float, ...]
    sample: Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """The answers of a network that estimates numbers.

    `misses` are the worst, at most twenty: by their squared residuals, each number's in units of
    the standard deviation of its targets.
    """

    split: str
    samples: int
    numbers: tuple[Residuals, ...]
    misses: tuple[Miss, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What comes of calling samples with an error above `error` anomalous.

    `alarms` is the share of the normal samples that is called so, `detected` that of the
    anomalous ones, `precision` the share of alarms that is right.
    """

    error: float
    alarms: Share
    detected: Share
    precision: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Misjudged:
    """A sample on the wrong side of the threshold."""

    index: int
    anomalous: bool
    error: float
    sample: Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The errors with which an autoencoder gives back normal and anomalous samples.

    The errors in `thresholds` are chosen on the validation split, for every split alike;
    `threshold` is that of the best mean of `detected` and 1 - `alarms`, or where validation has
    no anomalous sample the one of fewest alarms. `area` is the one under the receiver operating
    characteristic. `misjudged` are the worst by their ratio to the threshold, at most twenty.
    """

    split: str
    samples: int
    anomalous: int
    area: Share
    normal_errors: Histogram
    anomalous_errors: Histogram
    thresholds: tuple[Threshold, ...]
    threshold: float
    misjudged: tuple[Misjudged, ...]


Evaluation = Classification | Regression | Detection


def macro_mean(shares: tuple[Share, ...]) -> Share:
    """The mean of those shares that are of something."""
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None


def _share(part: int, whole: int) -> Share:
    return part / whole if whole else None
