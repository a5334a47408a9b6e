"""Libraries that gradc makes, inside a C and a C++ program: header, shared and static library, two models in one process."""
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from common import EndToEnd, GRADC, SMALL

SUMS = """layer running(x: f32[n]) {
    session total: f32[n] = 0
    total <- total + x
    total
}
export sum(x: f32[n]) for 4 steps = running(x)
"""


class Embed(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, text in (("small", SMALL), ("other", SMALL.replace("dense(8)", "dense(9)"))):
            (cls.folder / f"{name}.grad").write_text(text)
            cls.command(GRADC, "build", f"{name}.grad", "--emit", "lib", "-o", f"{name}_lib")

    def compile(self, *arguments):
        self.command(*arguments, "-Wall", "-Wextra", "-Werror", "-I", "small_lib", "-I", "other_lib", "-o", "program")

    def test_the_folder_holds_three_files(self):
        self.assertEqual(sorted(path.name for path in (self.folder / "small_lib").iterdir()), ["libsmall.a", "libsmall.so", "small.h"])

    def test_c_with_shared_libraries(self):
        self.compile("cc", "-std=c11", "-D_GNU_SOURCE", HERE / "embed.c", "-Lsmall_lib", "-Lother_lib", "-lsmall", "-lother", "-lm", "-Wl,-rpath,$ORIGIN/small_lib:$ORIGIN/other_lib")
        self.assertEqual(self.command("./program", self.folder).out, "ok\n")

    def test_c_with_static_libraries(self):
        self.compile("cc", "-std=c11", "-D_GNU_SOURCE", HERE / "embed.c", "small_lib/libsmall.a", "other_lib/libother.a", "-lm", "-pthread")
        self.assertEqual(self.command("./program", self.folder).out, "ok\n")

    def test_cpp_with_a_static_library_and_threads(self):
        self.compile("c++", "-std=c++20", HERE / "embed.cpp", "small_lib/libsmall.a", "-lm", "-pthread")
        self.assertEqual(self.command("./program").out, "ok\n")

    def test_sessions(self):
        (self.folder / "sums.grad").write_text(SUMS)
        self.command(GRADC, "build", "sums.grad", "--emit", "lib", "-o", "sums_lib")
        self.assertIn("(rows one after the other, 4 of them from reset to reset)", (self.folder / "sums_lib" / "sums.h").read_text())
        self.command("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", "sums_lib", HERE / "sessions.c", "sums_lib/libsums.a", "-lm", "-pthread", "-o", "sessions")
        self.assertEqual(self.command("./sessions").out, "ok\n")

    def test_nothing_but_the_interface_is_visible(self):
        for arguments in (["-D", "small_lib/libsmall.so"], ["-g", "small_lib/libsmall.a"]):
            lines = self.command("nm", "--defined-only", *arguments).out.splitlines()
            names = {line.split()[2] for line in lines if len(line.split()) == 3}
            self.assertIn("small_create", names)
            self.assertEqual({name for name in names if not name.startswith("small_")}, set())

    def test_the_shared_library_needs_libc_and_libm_alone(self):
        out = self.command("readelf", "-d", "small_lib/libsmall.so").out
        needed = {line.split("[")[1].split("]")[0] for line in out.splitlines() if "(NEEDED)" in line}
        self.assertLessEqual(needed, {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"})


if __name__ == "__main__":
    unittest.main()
