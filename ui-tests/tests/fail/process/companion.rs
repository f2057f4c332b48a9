//! An associated function has no companion type, by which a worker process would find it.
struct Parser;

trait Length {
    fn length(text: String) -> usize;
}

impl Length for Parser {
    #[fanfold::parallel(kind = "process", companion = none, retries = 2)]
    fn length(text: String) -> usize {
        text.len()
    }
}

impl Parser {
    #[fanfold::parallel(kind = "process", companion = Self)]
    fn words(text: String) -> usize {
        text.split(' ').count()
    }

    #[fanfold::parallel(kind = "process")]
    fn lines(text: String) -> usize {
        Self::separators(&text) + 1
    }

    #[fanfold::parallel(kind = "process")]
    fn parse(text: String) -> Option<Self> {
        text.is_empty().then_some(Self)
    }

    fn separators(text: &str) -> usize {
        text.matches('\n').count()
    }
}

#[fanfold::parallel(kind = "process", companion = none)]
fn alone(n: u32) -> u32 {
    n
}

fn main() {
    Parser::length(String::new());
    Parser::words(String::new());
    let _ = Parser::words_map([String::new()]).collect::<Vec<_>>();
    Parser::lines(String::new());
    Parser::parse(String::new());
    alone(1);
}
