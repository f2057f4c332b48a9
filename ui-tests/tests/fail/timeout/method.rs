struct Client;

impl Client {
    #[fanfold::parallel(kind = "io", timeout = "1s")]
    fn get(&self, page: u32) -> Result<u32, fanfold::TaskError> {
        Ok(page)
    }
}

fn main() {
    let _ = Client.get(1);
}
