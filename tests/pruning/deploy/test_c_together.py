"""Folders of generated C in one program: of C++, of two networks, of CMake, of two versions."""

import re
import shutil
import subprocess
from math import prod
from pathlib import Path

import numpy as np
import pytest

from pruning.cost.cores import core_named
from pruning.deploy import IntegerNetwork, c_files, reference
from pruning.deploy.backends.c import OPTIONS, kernel_files, kernel_version
from tests.pruning.deploy.bare import elf_of, needs_arm_gcc, run
from tests.pruning.deploy.host import CHECKED, STRICT, needs_cc
from tests.pruning.deploy.lowered import drawn, lowered, traced
from tests.toolchain import COMPILER

NAMES = ("kws", "Vision2")
OTHER = "0badf00d"  # of kernels
APP = """#include <cstdio>

#include "kws.h"
#include "Vision2.h"

static_assert(KWS_INPUT_ALIGNMENT <= 4 && VISION2_INPUT_ALIGNMENT <= 4, "");

int main()
{
    static const unsigned of_kws[KWS_OUTPUTS] = KWS_OUTPUT_BYTES;
    static const unsigned of_vision[VISION2_OUTPUTS] = VISION2_OUTPUT_BYTES;
    while (std::fread(kws_input(), 1, KWS_INPUT_BYTES, stdin) == KWS_INPUT_BYTES &&
           std::fread(Vision2_input(), 1, VISION2_INPUT_BYTES, stdin) == VISION2_INPUT_BYTES) {
        kws_run();
        Vision2_run();
        for (int n = 0; n < KWS_OUTPUTS; n++)
            std::fwrite(kws_output(n), 1, of_kws[n], stdout);
        for (int n = 0; n < VISION2_OUTPUTS; n++)
            std::fwrite(Vision2_output(n), 1, of_vision[n], stdout);
    }
}
"""
PROJECT = """cmake_minimum_required(VERSION 3.16)
project(app CXX)
add_subdirectory(kws)
add_subdirectory(Vision2)
add_executable(app app.cpp)
target_link_libraries(app kws Vision2)
"""

needs_cxx = pytest.mark.skipif(
    shutil.which("c++") is None, reason="no C++ compiler here (make system-deps)"
)
needs_cmake = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("make") is None,
    reason="cmake or make is not installed (make system-deps)",
)


def of(name: str) -> IntegerNetwork:
    graph, tensors = traced(name)
    return lowered(graph, tensors, drawn(graph, 4))


@pytest.fixture(scope="module")
def networks() -> dict[str, IntegerNetwork]:
    """One with several outputs, and one with another input."""
    return dict(zip(NAMES, map(of, ("heads", "lenet")), strict=True))


@pytest.fixture
def folder(networks: dict[str, IntegerNetwork], tmp_path: Path) -> Path:
    """An application beside the folders of both."""
    for name, network in networks.items():
        write(tmp_path / name, c_files(network, name, ("Study */ of", "two /* lines")))
    write(tmp_path, {"app.cpp": APP, "CMakeLists.txt": PROJECT})
    return tmp_path


def write(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def assert_each_gives_its_own_codes(program: Path, networks: dict[str, IntegerNetwork]) -> None:
    random, fed, wanted = np.random.default_rng(1), b"", b""
    for _ in range(3):
        for network in networks.values():
            shape = network.shapes["input"]
            codes = random.integers(-128, 128, (1, *shape)).astype(np.int8)
            values = reference(network, codes)
            fed += np.moveaxis(codes[0], 0, -1).tobytes()
            for name in network.outputs:
                output = values[name].reshape(network.shapes[name])
                wanted += np.moveaxis(output, 0, -1).tobytes()
    assert len(wanted) == 3 * sum(
        prod(network.shapes[name]) for network in networks.values() for name in network.outputs
    )

    done = subprocess.run([program], input=fed, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == wanted


@pytest.mark.slow
@needs_cc
@needs_cxx
def test_a_program_of_cpp_runs_two_networks_with_kernels_once(networks, folder):
    for source in ("kws/kws.c", "Vision2/Vision2.c", "kws/kernels.c"):
        run("cc", *STRICT, *CHECKED, "-c", source, folder=folder)
    objects = ("kws.o", "Vision2.o", "kernels.o")
    included = ("-Ikws", "-IVision2", "-Wall", "-Wextra", "-Werror", "-pedantic")
    run("c++", *included, *CHECKED, "app.cpp", *objects, "-o", "app", folder=folder)
    assert_each_gives_its_own_codes(folder / "app", networks)


@pytest.mark.slow
@needs_cc
@needs_cxx
@needs_cmake
def test_cmake_builds_two_folders_with_kernels_once(networks, folder):
    run("cmake", "-B", "build", folder=folder)
    run("cmake", "--build", "build", folder=folder)
    assert len([*(folder / "build").rglob("libparing_kernels.a")]) == 1
    assert_each_gives_its_own_codes(folder / "build" / "app", networks)


@pytest.mark.slow
@needs_cc
@needs_cmake
def test_cmake_builds_the_example_of_a_folder(networks, folder):
    run("cmake", "-B", "build", folder=folder / "kws")
    run("cmake", "--build", "build", "--target", "example", folder=folder / "kws")
    assert (folder / "kws" / "build" / "example").exists()


@pytest.mark.slow
@needs_arm_gcc
@needs_cmake
@pytest.mark.parametrize("kind", ["", "Debug", "Release", "MinSizeRel"])
def test_cmake_compiles_what_verify_compiles(networks, folder, kind):
    """Section by section; and a warning of somebody else's compiler stops nothing."""
    (folder / "noisy.h").write_text("#warning of another compiler\n")
    core = core_named("cortex-m4").toolchain.flags
    flags = " ".join((*core, f"-include {folder / 'noisy.h'}"))
    run(
        "cmake", "-B", "build", f"-DCMAKE_BUILD_TYPE={kind}", "-DCMAKE_SYSTEM_NAME=Generic",
        f"-DCMAKE_C_COMPILER={shutil.which(COMPILER)}", f"-DCMAKE_C_FLAGS={flags}",
        "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY", folder=folder / "kws",
    )  # fmt: skip
    run("cmake", "--build", "build", folder=folder / "kws")
    for source in ("kws.c", "kernels.c"):
        run(COMPILER, *core, *OPTIONS, "-c", source, folder=folder / "kws")
        (built,) = (folder / "kws" / "build").rglob(f"{source}.obj")
        assert linked_bytes(built) == linked_bytes(folder / "kws" / source.replace(".c", ".o"))


def linked_bytes(path: Path) -> dict[str, bytes]:
    """What an object file brings to a program."""
    sections = [s for s in elf_of(path).iter_sections() if s["sh_flags"] & 2]  # SHF_ALLOC
    assert sections
    return {section.name: section.data() for section in sections}


@needs_cc
def test_kernels_of_another_version_are_noticed_when_compiled_or_linked(folder):
    other = {n: t.replace(kernel_version(), OTHER) for n, t in kernel_files().items()}
    write(folder / "other", other)
    shutil.copy(folder / "kws" / "kws.c", folder / "other")
    shutil.copy(folder / "kws" / "kws.h", folder / "other")
    with pytest.raises(AssertionError, match=r"kws\.c needs the kernels of its own version"):
        run("cc", "-c", "other/kws.c", folder=folder)
    shutil.copy(folder / "kws" / "kernels.c", folder / "other")
    with pytest.raises(AssertionError, match=r"another version than kernels\.c"):
        run("cc", "-c", "other/kernels.c", folder=folder)
    write(folder / "other", other)
    sources = ("kws/kws.c", "kws/main.c", "other/kernels.c")
    with pytest.raises(AssertionError, match=f"undefined reference.*{kernel_version()}"):
        run("cc", "-Ikws", *sources, "-o", "app", folder=folder)


@needs_cxx
@needs_cmake
def test_kernels_of_another_version_are_noticed_by_cmake(folder):
    for path in (folder / "Vision2").iterdir():
        path.write_text(path.read_text().replace(kernel_version(), OTHER))
    with pytest.raises(AssertionError, match="Vision2 needs the kernels of its own version"):
        run("cmake", "-B", "build", folder=folder)


@needs_cc
def test_every_name_of_a_network_is_its_own(networks, folder):
    """Symbols of any kind, macros, and the guard; a comment is no code."""
    run("cc", *STRICT, "-c", "kws/kws.c", folder=folder)
    defined = {
        symbol.name: symbol["st_info"]["bind"]
        for symbol in elf_of(folder / "kws.o").get_section_by_name(".symtab").iter_symbols()
        if symbol["st_info"]["type"] in ("STT_OBJECT", "STT_FUNC")
    }
    assert {"kws_input", "kws_run", "kws_output", "kws_arena"} <= set(defined)
    assert {name.partition("_")[0] for name in defined} == {"kws"}
    assert {n for n, bind in defined.items() if bind == "STB_GLOBAL"} == {
        "kws_input", "kws_run", "kws_output"
    }  # fmt: skip
    header = (folder / "kws" / "kws.h").read_text()
    macros = re.findall(r"#define (\w+)", header)
    assert macros
    assert {name.partition("_")[0] for name in macros} == {"KWS"}


def test_the_same_network_is_the_same_text(networks, folder):
    """But for the name; kernels are the same for all networks."""
    first, second = (c_files(of("heads"), "kws", ("Study s",)) for _ in range(2))
    assert first == second
    for name in ("kws.h", "kws.c"):
        assert "\n * Study s\n */\n" in first[name]
        assert not [line for line in first[name].splitlines() if line != line.rstrip()]
    vision = c_files(networks["Vision2"], "Vision2")
    assert {n: t for n, t in vision.items() if n in kernel_files()} == kernel_files()
    renamed = c_files(of("heads"), "mine", ("Study s",))
    assert renamed["mine.c"].replace("mine", "kws").replace("MINE", "KWS") == first["kws.c"]
