"""A stand-in for lab.thresholds, for tests that plan a gate and judge nothing."""

from types import ModuleType

from lab.model import Threshold


def judge_of_tests() -> ModuleType:
    """Takes every text for a threshold, but one that says `nonsense`."""

    def parse(text: str) -> Threshold:
        if "nonsense" in text:
            raise ValueError("a threshold such as 'p50_ms vs base < +10 %'")
        return Threshold(text=text, metric="p50_ms", limit=1.1, against_base=True)

    made = ModuleType("lab.thresholds")
    made.parse = parse  # type: ignore[attr-defined]
    return made
