//! `causeway`: a secure multi-region API gateway. See `causeway --help`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One crypto provider for everything; installing it twice is harmless.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    model::jwt::install_provider();
    app::cli::main()
}
