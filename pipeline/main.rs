//! The binary: hands everything the program knows to the engine's command line.

use std::process::ExitCode;

use pipeline::out_of_memory::TrackingAllocator;

#[global_allocator]
static ALLOCATOR: TrackingAllocator<mimalloc::MiMalloc> = TrackingAllocator(mimalloc::MiMalloc);

fn main() -> ExitCode {
    pipeline::cli::main(&stages::CATALOG, settle_threads)
}

/// Gives all numerical threads to the engine's own pool.
///
/// candle's matrix products and elementwise loops each open threads of their own, which fight with the pool that stages
/// already fill: under contention a training step costs several times its work. polars opens a pool too, and it works alone.
/// All of them read these variables once.
#[expect(unsafe_code, reason = "setting the environment is safe while this is the only thread, which it is here")]
fn settle_threads(threads: usize) {
    let variables = [("RAYON_NUM_THREADS", 1), ("CANDLE_NUM_THREADS", 1), ("POLARS_MAX_THREADS", threads)];
    for (name, threads) in variables {
        // SAFETY: no other thread exists yet that could read the environment meanwhile.
        unsafe { std::env::set_var(name, threads.to_string()) };
    }
}
