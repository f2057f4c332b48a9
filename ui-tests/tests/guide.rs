//! The messages in the guide are those of the compiler.

use std::fs;
use std::path::Path;

#[test]
fn each_message_of_the_guide_is_one_of_the_compiler() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(folder.join("../runtime/guide/messages.md")).expect("the chapter");
    let mut printed = String::new();
    for topic in fs::read_dir(folder.join("tests/fail")).expect("the folders of topics") {
        for file in fs::read_dir(topic.expect("a folder").path()).expect("a folder") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "stderr") {
                printed += &fs::read_to_string(path).expect("text");
            }
        }
    }
    let quoted: Vec<&str> = guide.split("```text\n").skip(1).filter_map(|block| block.lines().next()).collect();
    assert!(quoted.len() > 15, "{quoted:?}");
    let lines: Vec<&str> = printed.lines().collect();
    for message in quoted {
        assert!(lines.contains(&message), "the compiler does not say: {message}");
    }
}
