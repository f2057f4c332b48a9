struct Job;

impl Job {
    #[fanfold::parallel(kind = "io", retries = 2)]
    fn run(self) -> Result<(), String> {
        let Job = self;
        Ok(())
    }
}

fn main() {
    let _ = Job.run();
}
