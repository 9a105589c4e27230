# SPDX-License-Identifier: MIT
"""Programs that copy, keep, build and install files give the same on a mount as without it."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from tests.vm import programkit as kit
from tests.vm.programkit import LOWERS, REFLINK, Pair, long_only, on

pair, place = kit.pair, kit.place

COPIES = {
    "cp": """
        cp -a in out
        cp -a out again
        cp -a --sparse=always in/sparse in/large .
        cp --reflink=auto in/large auto
        stat -c '%n %b' sparse
        cmp in/large auto
    """,
    "rsync": """
        rsync -aHAX --itemize-changes in/ out/
        rsync -aHAX --itemize-changes --checksum --dry-run in/ out/
        printf 'three\\n' >>in/text
        rm in/link
        mv in/deep in/deeper
        chmod 600 in/access
        rsync -aHAX --itemize-changes --delete in/ out/
        printf 'four\\n' >>in/text
        rsync -aHAX --itemize-changes --inplace --no-whole-file in/ out/
        rsync -aHAXS --itemize-changes out/ again/
    """,
    "tar": """
        tar --create --file all.tar --sort=name --xattrs --xattrs-include='*' --acls --sparse \\
            --pax-option=delete=atime,delete=ctime in
        mkdir out
        tar --extract --file all.tar --directory out --xattrs --xattrs-include='*' --acls
        tar --compare --file all.tar --directory out --xattrs --acls
        tar --list --verbose --verbose --file all.tar --full-time
        tar --create --gzip --sort=name in | tar --list --gzip
    """,
}


@on(LOWERS)
@pytest.mark.parametrize("program", COPIES)
def test_copies_keep_everything(pair: Pair, program: str) -> None:
    for base in (pair.bare, pair.lower):
        (base / "in").mkdir()
        kit.plant(base / "in")
    pair.run(COPIES[program])
    pair.compare(loose=r"all\.tar$")  # tar's names for sparse files hold its process id
    assert os.getxattr(pair.mount / "out" / ("in" if program == "tar" else "") / "text", "user.one")


@on(REFLINK)
def test_reflink_where_the_file_system_below_has_it(pair: Pair) -> None:
    done = pair.run("""
        seq 200000 >one
        if cp --reflink=always one two 2>why; then echo shared; fi
        cat why
        seq 10 | dd of=one conv=notrunc status=none
        md5sum one two || true
    """)
    assert ("shared" in done.output) == pair.rules.shares
    pair.compare()


GIT = """
    export GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z'
    git config --global user.name Tester
    git config --global user.email tester@example.org
    git config --global gc.auto 0
    git config --global pack.threads 1
    git config --global init.defaultBranch main
    git init --quiet first
    cd first
    cp -r /usr/include/linux/netfilter .
    ln -s netfilter link
    printf '#!/bin/sh\\n' >run
    chmod +x run
    git add .
    git commit --quiet -m 'First'
    git checkout --quiet -b side
    sed -i s/define/DEFINE/ netfilter/*.h
    git mv netfilter moved
    git commit --quiet -a -m 'Second'
    git checkout --quiet main
    echo other >other
    git add other
    git commit --quiet -m 'Third'
    git merge --quiet -m 'Merge' side
    git log --graph --oneline --stat
    cd ..
    git clone --quiet first local
    git clone --quiet --no-local --bare first bare.git
    cd local
    echo more >>other
    git commit --quiet -a -m 'Fourth'
    git push --quiet ../bare.git main
    git gc --quiet --prune=now
    git fsck --full --strict
    git status --short
    cd ../bare.git
    git repack -adq
    git log --oneline main
    cd ../first
    git pull --quiet ../bare.git main
    git reset --quiet --hard HEAD~1
    git clean -fdx
    git fsck --full --unreachable --no-reflogs
"""


@on(LOWERS)
def test_git_keeps_a_project(pair: Pair) -> None:
    done = pair.run(GIT)
    assert "Merge" in done.output
    # The index holds inode numbers and times
    pair.compare(loose=r"/index$")


@long_only
@on(LOWERS)
def test_make_builds_a_project(pair: Pair) -> None:
    for base in (pair.bare, pair.lower):
        shutil.copytree(kit.DATA / "project", base / "project")
    done = pair.run(
        """
        cd project
        make -j2 --output-sync all
        make check
        make --question all && echo 'nothing to do'
        touch -d '+10 seconds' words.h
        make -j2 all
        make install DESTDIR=$PWD/to
        LD_LIBRARY_PATH=to/lib to/bin/count Makefile
    """,
        noise=r"(?m)^(cc|ar|make).*\n",
    )  # two jobs at once end in any order
    assert "nothing to do" in done.output
    assert "words: all checks passed" in done.output
    pair.compare()


@on(LOWERS)
def test_scripts_and_programs_run(pair: Pair) -> None:
    done = pair.run(
        f"""
        cp {kit.DATA}/project/*.[ch] {kit.DATA}/ids.c {kit.DATA}/load.c .
        cc -shared -fPIC -o libwords.so words.c table.c list.c text.c
        cc -o ids ids.c
        cc -o load load.c
        ldd ./load
        ./load $PWD/libwords.so
        ./load ./none.so || echo $?

        chown 1000:2000 ids
        chmod 6755 ids
        setpriv --reuid 1001 --regid 1001 --clear-groups ./ids
        setpriv --reuid 1001 --regid 1001 --clear-groups --no-new-privs ./ids
        cp ids capable
        setcap cap_net_raw,cap_sys_nice+ep capable
        getcap capable
        setpriv --reuid 1001 --regid 1001 --clear-groups ./capable
        chown 0 capable
        getcap capable
        chmod 644 ids
        ./ids || echo $?
        ls -l ids

        mkdir -p bin/sub
        printf '#!/bin/sh\\n. "${{0%%/*}}/sub/common"\\nhello "$@"\\n' >bin/start
        echo 'hello() {{ echo "hello $*"; exec "${{0%/*}}/sub/last" "$@"; }}' >bin/sub/common
        printf '#!%s/bin/sub/interpreter\\n' "$PWD" >bin/sub/last
        cp /bin/sh bin/sub/interpreter
        echo 'echo last $# $0' >>bin/sub/last
        chmod +x bin/start bin/sub/last
        bin/start a b
        env -i PATH=$PWD/bin start c
        chmod -x bin/sub/last
        bin/start d || echo $?

        cp /bin/sleep busy
        ./busy 60 &
        until test "$(readlink /proc/$!/exe)" = $PWD/busy; do :; done
        (echo text >busy) 2>&1 || true
        kill $!
        wait $! || true
        echo text >busy
        cp /bin/true unlinked
        exec 7<unlinked
        rm unlinked
        /proc/self/fd/7 && echo ran
    """,
        noise=r"0x[0-9a-f]+",
    )
    assert "uid 1001 euid 1000" in done.output
    assert "Text file busy" in done.output
    pair.compare()


@long_only
@on(LOWERS)
def test_pip_installs_into_an_environment(pair: Pair) -> None:
    for base in (pair.bare, pair.lower):
        shutil.copytree(kit.DATA / "package", base / "package")
    pip = "env/bin/python -m pip"
    done = pair.run(f"""
        python3 -m venv env
        {pip} install --quiet --no-index --no-build-isolation ./package
        env/bin/countwords package/pyproject.toml
        . env/bin/activate
        cd /
        python -c 'import countwords; print(countwords.__file__)'
        cd {kit.HERE}
        {pip} list --format=freeze
        {pip} uninstall --quiet --yes countwords
        {pip} check
    """)
    assert "fusebpf-here/env/lib" in done.output
    pair.compare(skip=r"__pycache__")


# Written by hand, as npm would lock it: one dependency is a tarball, one a directory
NODE_FILES = {
    "left/package/package.json": {"name": "left", "version": "1.0.0", "main": "main.js"},
    "left/package/main.js": "module.exports = 'left'\n",
    "right/package.json": {"name": "right", "version": "1.0.0", "bin": "tool.js"},
    "right/tool.js": "#!/usr/bin/env node\nconsole.log('right')\n",
    "app/package.json": {
        "name": "app",
        "version": "1.0.0",
        "dependencies": {"left": "file:../left.tgz", "right": "file:../right"},
        "scripts": {"start": "node index.js && right", "postinstall": "touch installed"},
    },
    "app/package-lock.json": {
        "name": "app",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "requires": True,
        "packages": {
            "": {
                "name": "app",
                "version": "1.0.0",
                "dependencies": {"left": "file:../left.tgz", "right": "file:../right"},
                "hasInstallScript": True,
            },
            "../right": {"version": "1.0.0", "bin": {"right": "tool.js"}},
            "node_modules/left": {"version": "1.0.0", "resolved": "file:../left.tgz"},
            "node_modules/right": {"resolved": "../right", "link": True},
        },
    },
    "app/index.js": "console.log(require('left'), require.resolve('left'))\n",
}


@long_only
@on(LOWERS)
def test_npm_installs_a_locked_project(pair: Pair) -> None:
    for base in (pair.bare, pair.lower):
        for name, content in NODE_FILES.items():
            path = base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    done = pair.run(
        """
        tar --create --gzip --file left.tgz --directory left package
        cd app
        npm ci --offline --no-audit --no-fund --no-update-notifier
        node index.js
        node_modules/.bin/right
        """,
        noise=r"in [0-9.]+m?s",
    )
    assert "left /tmp/fusebpf-here/app/node_modules/left/main.js" in done.output
    assert (pair.mount / "app/installed").exists()
    # Names in npm's log and cache hold times and random numbers
    pair.compare(skip=r"home/\.npm/", loose=r"left\.tgz$")
