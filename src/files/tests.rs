//! The door, with the kernel's help and without.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::{
    fs,
    io::{Read, Write},
    os::unix::{ffi::OsStrExt, fs::symlink},
};

/// A tree of its own, gone when dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let root = std::env::temp_dir().join(format!("caspian-files-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("in/sub/deep")).unwrap();
        fs::create_dir_all(root.join("other")).unwrap();
        fs::create_dir_all(root.join("out")).unwrap();
        for (file, text) in [("in/a", "a"), ("in/sub/b", "b"), ("other/c", "c"), ("out/secret", "secret")] {
            fs::write(root.join(file), text).unwrap();
        }
        for (link, target) in [
            ("in/near", "a"),
            ("in/far", "sub/deep/../b"),
            ("in/dir", "sub"),
            ("in/dot", "."),
            ("in/again", "../in/sub"),
            ("in/across", "../other/c"),
            ("in/out", "../out/secret"),
            ("in/gone", "../out/none"),
            ("in/up", ".."),
            ("in/loop", "loop"),
            ("in/new", "sub/new"),
            ("in/slash", "a/"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(root.join("in/a"), root.join("in/absolute")).unwrap();
        symlink(root.join("out/secret"), root.join("in/escape")).unwrap();
        Tree(root.canonicalize().unwrap())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What came of it in a word.
fn told(found: Result<File, Refusal>) -> String {
    match found {
        Ok(mut file) => {
            let mut text = String::new();
            if file.metadata().unwrap().is_dir() {
                return "directory".into();
            }
            file.read_to_string(&mut text).unwrap();
            text
        }
        Err(Refusal::System(err)) => reason(&err),
        Err(refusal) => format!("{refusal:?}"),
    }
}

#[test]
fn the_kernel_and_the_walk_agree() {
    let tree = Tree::new("agree");
    let files = Files::within(&[tree.0.join("in"), tree.0.join("other")]).unwrap();
    const NONE: &str = "No such file or directory";
    for (path, expected) in [
        ("in/a", "a"),
        ("in//./a", "a"),
        ("in", "directory"),
        ("in/", "directory"),
        ("in/.", "directory"),
        ("in/sub/..", "directory"),
        ("in/sub/../a", "a"),
        ("in/none/../a", NONE),
        ("in/near", "a"),
        ("in/far", "b"),
        ("in/dir/b", "b"),
        ("in/dir/../a", "a"),
        ("in/dir/", "directory"),
        ("in/dot/dot/a", "a"),
        ("in/again/b", "b"),
        ("in/absolute", "a"),
        ("in/across", "c"),
        ("other/../in/a", "a"),
        ("out/../in/a", "a"),
        ("none/../in/a", "a"),
        ("in/none", NONE),
        ("in/none/x", NONE),
        ("in/a/x", "Not a directory"),
        ("in/a/", "Not a directory"),
        ("in/slash", "Not a directory"),
        ("in/loop", "Too many levels of symbolic links"),
        ("in/loop/x", "Too many levels of symbolic links"),
        ("in/out", "Outside"),
        ("in/gone", "Outside"),
        ("in/escape", "Outside"),
        ("in/up", "Outside"),
        ("in/up/in/a", "a"),
        ("in/up/out/secret", "Outside"),
        ("in/sub/../../out/secret", "Outside"),
        ("in/dir/../../out/secret", "Outside"),
        ("out/secret", "Outside"),
        ("out/none", "Outside"),
        ("in2/a", "Outside"),
        ("", "Outside"),
        ("/etc/passwd", "Outside"),
        ("/proc/self/maps", "Outside"),
    ] {
        let path = tree.0.join(path).into_os_string().into_vec();
        for quick in [true, false] {
            let found = told(files.find(&path, OFlags::RDONLY, quick));
            assert_eq!(found, expected, "{} {quick}", String::from_utf8_lossy(&path));
        }
    }
    let long = [tree.0.as_os_str().as_bytes(), b"/in/", &[b'x'; 5000]].concat();
    for quick in [true, false] {
        assert_eq!(told(files.find(&long, OFlags::RDONLY, quick)), "File name too long");
    }
    // Dots that lead nowhere are not walked without an end, inside or out.
    for dir in ["in", "out"] {
        let dots = [tree.0.as_os_str().as_bytes(), b"/", dir.as_bytes(), &b"/.".repeat(40_000), b"/a"].concat();
        for quick in [true, false] {
            assert_eq!(told(files.find(&dots, OFlags::RDONLY, quick)), "File name too long");
        }
    }
}

#[test]
fn nothing_is_emptied_or_made_outside() {
    let tree = Tree::new("made");
    let files = Files::within(&[tree.0.join("in")]).unwrap();
    let write = Mode::parse(b"w").unwrap();
    let at = |path: &str| tree.0.join(path).into_os_string().into_vec();
    for path in ["in/out", "in/gone", "in/escape", "in/up/out/secret", "in/across", "out/secret"] {
        assert!(matches!(files.open(&at(path), write), Err(Refusal::Outside)), "{path}");
    }
    assert_eq!(fs::read(tree.0.join("out/secret")).unwrap(), b"secret");
    assert!(!tree.0.join("out/none").exists());
    // A link to a name that is not there yet makes it, inside.
    files.open(&at("in/new"), write).unwrap().write_all(b"new").unwrap();
    assert_eq!(fs::read(tree.0.join("in/sub/new")).unwrap(), b"new");
    drop(files.open(&at("in/new"), write).unwrap());
    assert_eq!(fs::read(tree.0.join("in/sub/new")).unwrap(), b"");
    // Links themselves are renamed and removed.
    files.rename(&at("in/out"), &at("in/sub/out")).unwrap();
    files.remove(&at("in/sub/out")).unwrap();
    files.remove(&at("in/sub/deep/")).unwrap();
    assert!(tree.0.join("out/secret").exists() && !tree.0.join("in/sub/deep").exists());
    for path in ["in", "in/", "in/sub/..", "in/.", "out/secret", "in/up/out/secret"] {
        assert!(files.remove(&at(path)).is_err(), "{path}");
        assert!(
            files.rename(&at(path), &at("in/x")).is_err() && files.rename(&at("in/a"), &at(path)).is_err(),
            "{path}"
        );
    }
}

#[test]
fn a_directory_stays_the_one_that_it_was() {
    let tree = Tree::new("moved");
    let files = Files::within(&[tree.0.join("in")]).unwrap();
    fs::rename(tree.0.join("in"), tree.0.join("moved")).unwrap();
    symlink("out", tree.0.join("in")).unwrap();
    let at = |path: &str| tree.0.join(path).into_os_string().into_vec();
    assert_eq!(told(files.open(&at("in/a"), Mode::READ)), "a");
    assert_eq!(told(files.open(&at("in/secret"), Mode::READ)), "No such file or directory");
}

#[test]
#[cfg(target_os = "linux")]
fn never_what_the_kernel_makes_up() {
    let tree = Tree::new("kernel");
    symlink("/proc/self/maps", tree.0.join("in/maps")).unwrap();
    symlink("/proc/none/none", tree.0.join("in/none")).unwrap();
    let link = tree.0.join("in/maps").into_os_string().into_vec();
    let none = tree.0.join("in/none").into_os_string().into_vec();
    for files in [Files::everywhere(), Files::within(&["/"]).unwrap()] {
        for path in [
            &b"/proc/self/maps"[..],
            b"/proc/none",
            b"/sys/none",
            b"//proc//self/../x",
            b"/etc/../sys/kernel",
            &link,
            &none,
        ] {
            for quick in [true, false] {
                assert_eq!(
                    told(files.find(path, OFlags::RDONLY, quick)),
                    "Kernel",
                    "{}",
                    String::from_utf8_lossy(path)
                );
            }
        }
        assert_eq!(told(files.find(b"/dev/../etc", OFlags::RDONLY, true)), "directory");
    }
}

#[test]
fn modes() {
    for (text, kind, both) in [
        (&b"r"[..], Some(Kind::Read), false),
        (b"w+", Some(Kind::Write), true),
        (b"a+bb", Some(Kind::Append), true),
        (b"rb", Some(Kind::Read), false),
        (b"rb+", None, false),
        (b"", None, false),
        (b"x", None, false),
        (b"r\0", None, false),
    ] {
        assert_eq!(Mode::parse(text), kind.map(|kind| Mode { kind, both }));
    }
}

#[test]
fn a_draft_takes_its_name_at_the_end() {
    let tree = Tree::new("draft");
    let files = Files::within(&[tree.0.join("in")]).unwrap();
    let path = |name: &str| tree.0.join("in").join(name).as_os_str().as_bytes().to_vec();
    let text = |name: &str| fs::read_to_string(tree.0.join("in").join(name)).ok();
    let names = || fs::read_dir(tree.0.join("in")).unwrap().count();
    let before = names();
    // Given up: what was there is as it was, and nothing stays.
    for name in ["a", "fresh"] {
        let mut draft = files.place_for(&path(name)).unwrap().draft().unwrap();
        draft.write(b"half").unwrap();
        assert_eq!(text(name).as_deref(), (name == "a").then_some("a"));
        drop(draft);
        assert_eq!((text(name).as_deref(), names()), ((name == "a").then_some("a"), before));
    }
    // Whole: also begun anew, with the rights of what it replaces, and through a link that stays one.
    fs::set_permissions(tree.0.join("in/a"), fs::Permissions::from_mode(0o640)).unwrap();
    for name in ["a", "fresh", "near"] {
        let mut draft = files.place_for(&path(name)).unwrap().draft().unwrap();
        draft.write(b"too much").unwrap();
        draft.restart().unwrap();
        draft.write(name.as_bytes()).unwrap();
        draft.finish().unwrap();
        assert_eq!(text(name).as_deref(), Some(name));
    }
    assert_eq!((text("a").as_deref(), names()), (Some("near"), before + 1));
    assert_eq!(fs::metadata(tree.0.join("in/a")).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(tree.0.join("in/near")).unwrap().is_symlink());
    // Outside, directories, pipes: never.
    for name in ["sub", "sub/", ".", "fresh/", "out", "up", "escape", "../out/secret", "none/x", "loop"] {
        assert!(files.place_for(&path(name)).is_err(), "{name}");
    }
    assert!(Files::everywhere().place_for(b"/dev/null").is_err() && Files::default().place_for(&path("a")).is_err());
    // What becomes a directory, or another's, meanwhile.
    let draft = files.place_for(&path("late")).unwrap().draft().unwrap();
    fs::create_dir(tree.0.join("in/late")).unwrap();
    assert!(draft.finish().is_err());
    assert_eq!(names(), before + 2);
}
