//! Prints the public items in a file of rustdoc's JSON, one a line, without the implementations of auto traits and the
//! blanket ones, which follow from the types.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: fanfold-public-api JSON");
        return ExitCode::FAILURE;
    };
    let api =
        public_api::Builder::from_rustdoc_json(&path).omit_auto_trait_impls(true).omit_blanket_impls(true).build();
    match api {
        Ok(api) => {
            for item in api.items() {
                println!("{item}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("no list of the items in {path}: {error}");
            ExitCode::FAILURE
        }
    }
}
