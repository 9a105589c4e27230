from fusebpf import Context, FilterSet, Name
from fusebpf.constants import EPERM

filters = FilterSet("s")


def step1(n: int) -> int:
    return step2(n) + 1


def step2(n: int) -> int:
    return step3(n) + 1


def step3(n: int) -> int:
    return step4(n) + 1


def step4(n: int) -> int:
    return step5(n) + 1


def step5(n: int) -> int:
    return step6(n) + 1


def step6(n: int) -> int:
    return step7(n) + 1


def step7(n: int) -> int:
    return step8(n) + 1


def step8(n: int) -> int:
    return n


@filters.lookup.pre
def looked(ctx: Context, name: Name):
    if step1(len(name)) > 9:
        return -EPERM
