struct Parser;

impl Parser {
    #[fanfold::parallel(kind = "process")]
    fn parse(self, text: String) -> usize {
        text.len()
    }
}

fn main() {
    Parser.parse(String::new());
}
