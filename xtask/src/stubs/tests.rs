//! A made-up library behind its stand-in: there, too old, and not there.

use super::*;

const BINDINGS: &str = r#"
    DEMO_ABSENT = 41,
    DEMO_UNKNOWN = 42,
    extern "C" {
        fn demoSum(a: i64, b: f64, c: i64, d: i64, e: i64, f: i64, g: i64, h: i64, i: f64, out: *mut f64) -> demoResult;
        fn demoNew(out: *mut f64) -> demoResult;
        fn demoVersion() -> usize;
        fn demoText() -> *const ::core::ffi::c_char;
    }
"#;

const REAL: &str = r#"
    #include <stddef.h>
    int demoSum(long a, double b, long c, long d, long e, long f, long g, long h, double i, double *out) {
        *out = a + 10 * b + 100 * c + 1e3 * d + 1e4 * e + 1e5 * f + 1e6 * g + 1e7 * h + 1e8 * i;
        return 0;
    }
    size_t demoVersion(void) { return 7; }
    const char *demoText(void) { return "real"; }
"#;

/// Calls everything twice: through the code that fills a slot, and through the slot.
const PROGRAM: &str = r#"
    #include <stdio.h>
    int demoSum(long, double, long, long, long, long, long, long, double, double *);
    int demoNew(double *);
    size_t demoVersion(void);
    const char *demoText(void);
    int main(void) {
        for (int turn = 0; turn < 2; turn++) {
            double out = 0;
            int sum = demoSum(1, 2, 3, 4, 5, 6, 7, 8, 9, &out);
            printf("%d %.0f %d %zu %s\n", sum, out, demoNew(&out), demoVersion(), demoText());
        }
    }
"#;

fn demo() -> Library {
    let (absent, unknown) = ("DEMO_ABSENT", "DEMO_UNKNOWN");
    Library { link: "demo", bindings: "", version: None, absent, unknown, companions: &["libpartner.so.{}"] }
}

/// Stdout and stderr of `program` with `ATTAR_CUDA_PATH` set to `folders`.
fn outputs(program: &Path, folders: &str) -> (String, String) {
    let output = Command::new(program).env("ATTAR_CUDA_PATH", folders).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_program_runs_with_and_without_its_library() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
    compile("demo", &super::write(&demo(), BINDINGS, 13).unwrap(), scratch.path()).unwrap();
    write("program.c", PROGRAM);
    write("real.c", REAL);
    let program = at("program");
    run(Command::new("cc").arg("-o").args([&program, &at("program.c")]).arg(at("libdemo.a"))).unwrap();

    let (printed, said) = outputs(&program, "/nonexistent:");
    let line = printed.lines().next().unwrap();
    assert!(line.starts_with("41 0 41 0 libdemo.so.13: cannot open"), "{printed}");
    assert_eq!(printed, format!("{line}\n{line}\n"));
    assert!(said.contains("hint: set ATTAR_CUDA_PATH") && said.lines().count() == 2, "{said}");

    let folder = at("libraries");
    std::fs::create_dir(&folder).unwrap();
    run(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(folder.join("libdemo.so.13")).arg(at("real.c")))
        .unwrap();
    let (printed, said) = outputs(&program, &format!("/nonexistent:{}", folder.display()));
    assert_eq!(printed, "0 987654321 42 7 real\n".repeat(2));
    assert!(said.contains("libdemo.so.13 has no demoNew") && said.lines().count() == 1, "{said}");

    std::fs::write(folder.join("libdemo.so.13"), "not a library").unwrap();
    let (printed, _) = outputs(&program, &folder.display().to_string());
    assert!(printed.starts_with("41 0 41 0") && printed.contains("libraries/libdemo.so.13"), "{printed}");
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_library_finds_its_companion_in_the_same_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
    compile("demo", &super::write(&demo(), BINDINGS, 13).unwrap(), scratch.path()).unwrap();
    write("program.c", PROGRAM);
    write("partner.c", "const char *partner(void) { return \"partner\"; }");
    let opens = "#include <dlfcn.h>\nconst char *demoText(void) { return dlopen(\"libpartner.so.13.1\", RTLD_LAZY) ? \"found\" : \"lost\"; }";
    write("real.c", opens);
    run(Command::new("cc").arg("-o").arg(at("program")).arg(at("program.c")).arg(at("libdemo.a"))).unwrap();
    let shared = |name: &str, source: &str| {
        let soname = format!("-Wl,-soname,{name}");
        run(Command::new("cc").args(["-shared", "-fPIC", &soname, "-o"]).arg(at(name)).arg(at(source))).unwrap();
    };
    shared("libpartner.so.13.1", "partner.c");
    shared("libdemo.so.13", "real.c");
    let (printed, _) = outputs(&at("program"), &scratch.path().display().to_string());
    assert!(printed.ends_with(" 0 found\n"), "{printed}");
}

#[test]
fn the_header_names_the_library_its_codes_and_its_functions() {
    let functions = [("cublasCreate_v2".to_owned(), Answer::Status)].into();
    let text = header(&LIBRARIES[3], &functions, (1, 15), 13, "attar_resolve_cublas");
    for line in [
        "#define LIBRARY \"libcublas.so.13\"",
        "#define DRIVER 0",
        "#define ABSENT 1",
        "#define UNKNOWN 15",
        "static const char *const companions[] = {\"libcublasLt.so.13\", 0};",
        "    {\"cublasCreate_v2\", STATUS},",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
    }
}
