use tempfile::TempDir;

use super::*;

fn fill(files: &SnapshotFiles, name: &str, data: &[u8]) -> Manifest {
    let mut writer = files.begin(name).unwrap();
    for piece in data.chunks(7) {
        writer.write_all(piece).unwrap();
    }
    writer.finish(5).unwrap()
}

fn content(files: &SnapshotFiles, name: &str) -> Vec<u8> {
    let mut reader = files.open(name).unwrap();
    let mut data = Vec::new();
    reader.read_to_end(&mut data).unwrap();
    assert_eq!(reader.size(), data.len() as u64);
    data
}

fn listed(directory: &TempDir) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_made_here_arrives_there() {
    let directory = TempDir::new().unwrap();
    for (from, to) in [
        (SnapshotFiles::unnamed(), SnapshotFiles::in_directory(directory.path()).unwrap()),
        (SnapshotFiles::in_directory(directory.path()).unwrap(), SnapshotFiles::unnamed()),
    ] {
        let manifest = fill(&from, "a-1", b"all that is known");
        assert_eq!((manifest.index, manifest.size, manifest.data.as_str()), (5, 17, "a-1"));
        // The hash as another tool computes it.
        let sum = "sha256:3eaf0ba1a162a5d71028eb382f3c6b1732884e64c1693fd3ec544aabd79c3840";
        assert_eq!(manifest.checksum, sum);
        let mut sink = to.receive(&manifest).unwrap();
        let mut reader = from.open("a-1").unwrap();
        let mut piece = [0; 5];
        loop {
            let read = reader.read(&mut piece).unwrap();
            if read == 0 {
                break;
            }
            sink.write(&piece[..read]).unwrap();
        }
        assert!(matches!(to.open("b"), Err(SnapshotFileError::Missing(_))));
        sink.finish().unwrap();
        assert_eq!(content(&to, "a-1"), b"all that is known");
    }
}

#[test]
fn what_was_not_announced_is_refused() {
    let directory = TempDir::new().unwrap();
    let files = SnapshotFiles::in_directory(directory.path()).unwrap();
    let manifest = fill(&SnapshotFiles::unnamed(), "x", b"0123456789");
    let refused = |pieces: &[&[u8]], manifest: &Manifest| {
        let mut sink = files.receive(manifest).unwrap();
        for piece in pieces {
            if let Err(error) = sink.write(piece) {
                return error.to_string();
            }
        }
        sink.finish().unwrap_err().to_string()
    };
    assert!(refused(&[b"0123456789", b"0"], &manifest).contains("larger"));
    assert!(refused(&[b"012345678"], &manifest).contains("smaller"));
    assert!(refused(&[b"012345678x"], &manifest).contains("checksum"));
    for name in ["", "../x", "a/b", ".hidden", "x.part", "a b", &"n".repeat(129)] {
        let named = Manifest { data: name.to_owned(), ..manifest.clone() };
        assert!(matches!(files.receive(&named), Err(SnapshotFileError::Name(_))), "{name:?}");
    }
    assert!(listed(&directory).is_empty(), "nothing is left behind");
    assert!(files.names().is_empty());
}

#[test]
fn the_newest_two_are_kept_and_the_open_one_stays_readable() {
    let directory = TempDir::new().unwrap();
    for files in [SnapshotFiles::in_directory(directory.path()).unwrap(), SnapshotFiles::unnamed()] {
        fill(&files, "a", b"aaa");
        let mut open = files.open("a").unwrap();
        fill(&files, "b", b"bbb");
        fill(&files, "c", b"ccc");
        assert_eq!(files.names(), ["b", "c"]);
        let mut data = Vec::new();
        open.read_to_end(&mut data).unwrap();
        assert_eq!(data, b"aaa");
        fill(&files, "b", b"again");
        assert_eq!(files.names(), ["c", "b"]);
        assert_eq!(content(&files, "b"), b"again");
        files.remove("c");
        files.remove("none");
        assert_eq!(files.names(), ["b"]);
    }
    assert_eq!(listed(&directory), ["b"]);
}

#[test]
fn a_start_finds_the_whole_ones_and_removes_the_rest() {
    let directory = TempDir::new().unwrap();
    let files = SnapshotFiles::in_directory(&directory.path().join("below")).unwrap();
    let manifest = fill(&files, "whole", b"whole");
    let mut half = files.begin("half").unwrap();
    half.write_all(b"ha").unwrap();
    let mut received = files.receive(&manifest).unwrap();
    received.write(b"wh").unwrap();
    // As a killed process leaves them.
    std::mem::forget((half, received));
    let directory = directory.path().join("below");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
    let files = SnapshotFiles::in_directory(&directory).unwrap();
    assert_eq!(files.names(), ["whole"]);
    assert_eq!(content(&files, "whole"), b"whole");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn receivers_are_bounded() {
    let files = SnapshotFiles::unnamed();
    let manifest = fill(&SnapshotFiles::unnamed(), "x", b"0");
    let (first, _second) = (files.receive(&manifest).unwrap(), files.receive(&manifest).unwrap());
    assert!(matches!(files.receive(&manifest), Err(SnapshotFileError::Busy)));
    drop(first);
    assert!(files.receive(&manifest).is_ok());
}
