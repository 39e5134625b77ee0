"""Generated C by other compilers, options and cores: the same codes."""

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pruning.deploy import IntegerNetwork, c_files, reference
from pruning.deploy.backends.c import OPTIONS, kernel_files
from tests.pruning.deploy.bare import CORES, answers, elf_of, linked, needs_arm_gcc, run
from tests.pruning.deploy.host import needs_cc
from tests.pruning.deploy.lowered import drawn, lowered
from tests.toolchain import COMPILER

CLANG = ("clang", "--target=arm-none-eabi")
RISCV = "riscv64-unknown-elf-gcc"
ALL_WARNINGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow",
                "-Wsign-conversion", "-Wundef", "-Wcast-align", "-Werror")  # fmt: skip
# A hook that leaves nothing in the registers that it may use.
CLOBBERS = """#define HOOK \\
    __asm__ volatile("mov r0, #0\\n mov r1, #0\\n mov r2, #0\\n mov r3, #0\\n mov r12, #0" \\
                     ::: "r0", "r1", "r2", "r3", "r12")
void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);
void __sanitizer_cov_trace_pc(void);

void __cyg_profile_func_enter(void *function, void *caller)
{
    HOOK;
    (void)function, (void)caller;
}

void __cyg_profile_func_exit(void *function, void *caller)
{
    HOOK;
    (void)function, (void)caller;
}

void __sanitizer_cov_trace_pc(void)
{
    HOOK;
}
"""

needs_clang = pytest.mark.skipif(
    shutil.which("clang") is None, reason="clang is not installed (make system-deps)"
)
needs_riscv_gcc = pytest.mark.skipif(
    shutil.which(RISCV) is None, reason=f"{RISCV} is not installed (Debian: gcc-{RISCV[:-4]})"
)


@pytest.fixture(scope="module")
def network(small: Callable) -> IntegerNetwork:
    """Depthwise layers and others, of 12 channels."""
    graph, model = small("ds_cnn")
    return lowered(graph, model.state_dict(), drawn(graph, 2))


def assert_same_codes(
    network: IntegerNetwork, folder: Path, core: str, *options: str, **settings: object
) -> None:
    shape = network.shapes["input"]
    codes = np.random.default_rng(2).integers(-128, 128, (1, *shape)).astype(np.int8)
    program = linked(network, folder, CORES[core], options, **settings)
    expected = reference(network, codes)
    found = answers(program, CORES[core], network, codes)
    for name, output in zip(network.outputs, found, strict=True):
        np.testing.assert_array_equal(output.reshape(expected[name].shape), expected[name])


@pytest.mark.slow
@needs_arm_gcc
@pytest.mark.parametrize("core", CORES)
def test_every_core_gives_the_same_codes(network, core, tmp_path):
    """Of either byte order, of ARM's instructions and of Thumb's, with SIMD and without."""
    assert_same_codes(network, tmp_path, core, *OPTIONS)


@pytest.mark.slow
@needs_arm_gcc
@pytest.mark.parametrize(
    ("core", "options"),
    [
        ("m4", ("-std=c99", "-O0")),
        ("m4", ("-std=c11", "-Os")),
        ("m33", ("-std=gnu17", "-O3")),
        ("m4", (*OPTIONS, "-mno-unaligned-access")),
        ("m4", (*OPTIONS, "-funsigned-char", "-fshort-enums")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_every_option_gives_the_same_codes(network, core, options, tmp_path):
    assert_same_codes(network, tmp_path, core, *options)


@pytest.mark.slow
@needs_arm_gcc
@needs_clang
@pytest.mark.parametrize(
    ("core", "options"),
    [
        ("m0+", ("-Oz",)),
        ("m4", ("-O2",)),
        ("m4", ("-O2", "-munaligned-access")),
        ("r5-arm", ("-Oz", "-munaligned-access")),
    ],
)
def test_clang_gives_the_same_codes(network, core, options, tmp_path):
    assert_same_codes(network, tmp_path, core, "-std=c99", *options, compiler=CLANG)


@pytest.mark.slow
@needs_arm_gcc
@pytest.mark.parametrize("option", ["-finstrument-functions", "-fsanitize-coverage=trace-pc"])
def test_hooks_of_tracers_stay_outside_of_the_assembly(network, option, tmp_path):
    assert_same_codes(network, tmp_path, "m4", *OPTIONS, option, more={"hooks.c": CLOBBERS})


@pytest.mark.slow
@needs_arm_gcc
@pytest.mark.parametrize("core", ["m4", "r5-arm"])
@pytest.mark.parametrize("option", ["-O2", "-Os", "-fprofile-arcs", "-finstrument-functions"])
def test_the_loops_of_the_assembly_begin_with_whole_words(core, option, tmp_path):
    """Nothing comes before the first push, nothing is padded, and three loads follow each
    other: a Cortex-M4 takes a cycle less for each that follows another.
    """
    write(tmp_path, kernel_files())
    compile_only(tmp_path, "kernels.c", *CORES[core].options, "-O2", option)
    for function in ("add_two_pixels", "add_one_pixel"):
        code = disassembled(tmp_path / "kernels.o", function)
        assert code[0][1].startswith(("push", "stmdb"))
        while code[-1][1].startswith("nop"):  # behind the last instruction
            code.pop()
        assert not [text for _, text in code if text.startswith("nop")]
        jumps = [
            (at, int(to, 16)) for at, text in code for to in re.findall(r"^b\S*\s+(\w+) <", text)
        ]
        starts = {to for at, to in jumps if to < at}
        assert len(starts) == 2
        assert {start % 4 for start in starts} == {0}
        loop = [text for at, text in code if at >= min(starts)]
        assert all(text.startswith("ldr") for text in loop[:3])
        assert not loop[3].startswith("ldr")


def disassembled(path: Path, function: str) -> list[tuple[int, str]]:
    """The instructions of a function, each with its address."""
    objdump = COMPILER.replace("gcc", "objdump")
    whole = run(objdump, "-d", "--no-show-raw-insn", path, folder=path.parent)
    (body,) = re.findall(rf"<{function}>:\n(.*?)(?:\n\n|\Z)", whole, re.DOTALL)
    lines = [line.split(":", 1) for line in body.splitlines() if ":" in line]
    return [(int(address, 16), text.strip()) for address, text in lines]


@needs_arm_gcc
def test_assembly_whose_record_has_changed_is_not_compiled(tmp_path):
    kernels = kernel_files()["kernels.c"]
    changed = kernels.replace("int32_t sums[4];", "int32_t sums[5];")
    assert changed != kernels
    write(tmp_path, {**kernel_files(), "kernels.c": changed})
    with pytest.raises(AssertionError, match="first_lies_where_assembly_reads_it"):
        compile_only(tmp_path, "kernels.c", *CORES["m4"].options)


@pytest.mark.slow
@needs_arm_gcc
@pytest.mark.parametrize(
    ("core", "assembly"),
    [("m4", True), ("r5-arm", True), ("r5-big-endian", False), ("arm9", False)],
)
def test_simd_is_for_cores_on_which_it_is_right(core, assembly, tmp_path):
    write(tmp_path, kernel_files())
    compile_only(tmp_path, "kernels.c", *CORES[core].options, *OPTIONS)
    names = {symbol.name for symbol in symbols(tmp_path / "kernels.o")}
    assert "paring_conv" in names
    texts = [text for _, text in disassembled(tmp_path / "kernels.o", "add_two_pixels")]
    assert any(text.startswith("smlad") for text in texts) == assembly


@pytest.mark.slow
@pytest.mark.parametrize(
    "compiler",
    [
        pytest.param((COMPILER, "-mcpu=cortex-m4", "-mthumb"), marks=needs_arm_gcc, id="arm"),
        pytest.param((*CLANG, "-mcpu=cortex-m4", "-mthumb"), marks=needs_clang, id="clang"),
        pytest.param(("cc",), id="cc", marks=needs_cc),
        *(pytest.param((RISCV, f"-march={isa}", "-mabi=ilp32"), marks=needs_riscv_gcc, id=isa)
          for isa in ("rv32imc", "rv32imac_zba_zbb_zbs")),
    ],
)  # fmt: skip
def test_nothing_of_a_library_is_needed_to_compile(network, compiler, tmp_path):
    """Only the headers that compilers themselves bring; every warning is off limits."""
    write(tmp_path, c_files(network))
    own = run(*compiler, "-print-file-name=include", folder=tmp_path).strip()
    headers = ("-ffreestanding", "-nostdinc", "-isystem", own)
    for source in ("model.c", "kernels.c"):
        compile_only(tmp_path, source, "-O2", *ALL_WARNINGS, *headers, compiler=compiler)


@pytest.mark.parametrize(
    "compiler",
    [
        pytest.param((COMPILER, "-mcpu=cortex-m4", "-mthumb"), marks=needs_arm_gcc, id="arm"),
        pytest.param((*CLANG, "-mcpu=cortex-m4", "-mthumb"), marks=needs_clang, id="clang"),
    ],
)
@pytest.mark.parametrize("level", ["-Os", "-O3"])
def test_arrays_begin_with_whole_words(network, compiler, level, tmp_path):
    write(tmp_path, c_files(network))
    compile_only(
        tmp_path, "model.c", "-std=c99", level, "-ffreestanding", "-fdata-sections",
        compiler=compiler,
    )  # fmt: skip
    arrays = [
        (symbol.name, symbol["st_value"] % 4, section["sh_addralign"] % 4)
        for symbol, section in objects(tmp_path / "model.o")
    ]
    assert {"model_arena", "model_weights0", "model_shifts0"} <= {name for name, *_ in arrays}
    assert {tuple(rest) for _, *rest in arrays} == {(0, 0)}


@needs_arm_gcc
def test_names_and_origin_add_no_byte(network, tmp_path):
    sizes = []
    for name, origin in (("model", ()), ("keywords", ("Study kws, trial 3", "by */ paring"))):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, c_files(network, name, origin))
        compile_only(folder, f"{name}.c", *CORES["m4"].options, *OPTIONS, "-Wall", "-Werror")
        elf = elf_of(folder / f"{name}.o")
        kept = [s for s in elf.iter_sections() if s["sh_flags"] & 2]  # SHF_ALLOC
        sizes.append([(s["sh_type"], s["sh_size"], s["sh_addralign"]) for s in kept])
    assert sizes[0] == sizes[1]


def write(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text)


def compile_only(
    folder: Path, source: str, *options: str, compiler: Sequence[str] = (COMPILER,)
) -> None:
    run(*compiler, *options, "-c", source, folder=folder)


def symbols(path: Path) -> list:
    return list(elf_of(path).get_section_by_name(".symtab").iter_symbols())


def objects(path: Path) -> list:
    """The data of an object file, each with its section."""
    elf = elf_of(path)
    return [
        (symbol, elf.get_section(symbol["st_shndx"]))
        for symbol in symbols(path)
        if symbol["st_info"]["type"] == "STT_OBJECT"
    ]
