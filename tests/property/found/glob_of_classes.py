# SPDX-License-Identifier: MIT
"""Each class of a pattern doubled the paths that the verifier follows."""

from fusebpf import Context, FilterSet, Name
from fusebpf.constants import ENOENT

filters = FilterSet("glob_of_classes")


@filters.lookup.pre
def of_one_name(ctx: Context, name: Name):
    if name.lower().glob("[a-m][b-n][c-o][d-p][e-q][f-r][g-s][h-t][i-u][j-v][k-w][l-x][m-y][!.x]"):
        return -ENOENT


@filters.unlink.pre
def of_a_part(ctx: Context, name: Name):
    if name.glob("*[!.x][a-m][!.x][]e][!.x][a-m][!.x][]e][!.x][a-m][!.x]*"):
        return -ENOENT
