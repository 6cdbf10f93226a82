//! The device of a training: the CPU, or an NVIDIA GPU where the program was built for one.
//!
//! A stage opens it once and hands it down: parameters are made there, each batch is moved there once, and what is exported or
//! saved comes back, so that files and checkpoints know of no device. Tensors of two openings of one GPU do not mix.

use anyhow::{Context as _, Result};
use candle_core::Device;
use pipeline::{Context, Devices};

/// What this program can compute on.
pub const DEVICES: Devices = Devices { cuda: cfg!(feature = "cuda"), probe: |device| open(device).map(|_| ()) };

/// Opens the device of a stage that trains. The run records the name of a GPU.
///
/// # Errors
/// When there is no such GPU.
pub fn of(cx: &Context) -> Result<Device> {
    let device = open(cx.device())?;
    if let Some(name) = name(&device) {
        cx.note("device", format!("{}, {name}", cx.device()));
    }
    Ok(device)
}

fn open(device: pipeline::Device) -> Result<Device> {
    match device {
        pipeline::Device::Cpu => Ok(Device::Cpu),
        // Runs the tests that need a GPU on the CPU instead.
        #[cfg(test)]
        pipeline::Device::Cuda(0) if std::env::var("APPRENTICE_TEST_GPU").is_ok_and(|device| device == "cpu") => {
            Ok(Device::Cpu)
        }
        pipeline::Device::Cuda(number) => open_gpu(number).with_context(|| {
            format!(
                "the GPU `{device}` cannot be used\nhelp: `nvidia-smi` lists the GPUs and whether the driver works; or train on the \
                 `cpu`"
            )
        }),
    }
}

#[cfg(not(feature = "cuda"))]
fn open_gpu(_: usize) -> Result<Device> {
    anyhow::bail!("this program was not built for NVIDIA GPUs")
}

#[cfg(not(feature = "cuda"))]
fn name(_: &Device) -> Option<String> {
    None
}

/// Opens a GPU with one stream of work for all threads. (candle's `new_cuda` gives each thread its own, which do not wait for each
/// other: a thread that plays episodes would read weights that another has not written yet.)
#[cfg(feature = "cuda")]
fn open_gpu(number: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(number)?;
    settle(&device)?;
    Ok(device)
}

/// Disables the bookkeeping of several streams, and lets the driver keep freed memory. By default the driver returns all free memory to
/// the system whenever the CPU waits for a result, and the next tensor has to allocate it again.
#[cfg(feature = "cuda")]
#[expect(
    unsafe_code,
    reason = "the driver's calls are foreign functions, and who has one stream says so without proof"
)]
fn settle(device: &Device) -> Result<()> {
    use candle_core::cuda::cudarc::driver::sys;
    let gpu = device.as_cuda_device()?;
    // SAFETY: nothing of this device is ever used on another stream than its own.
    unsafe { gpu.disable_event_tracking() };
    let context = gpu.cuda_stream().context().clone();
    if !context.has_async_alloc() {
        return Ok(());
    }
    context.bind_to_thread()?;
    let mut pool = std::ptr::null_mut();
    let mut all = u64::MAX;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the context is current on this thread; both pointers are to locals of the kinds that the calls ask for, and outlive
    // them.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()).result()?;
        sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut all).cast()).result()?;
    }
    Ok(())
}

#[cfg(feature = "cuda")]
fn name(device: &Device) -> Option<String> {
    let context = device.as_cuda_device().ok()?.cuda_stream().context().clone();
    Some(context.name().unwrap_or_else(|_| "a GPU without a name".to_owned()))
}

/// The first GPU, for tests that need one; without one they say aloud that they are skipped, and fail where `APPRENTICE_REQUIRE_GPU` is set.
#[cfg(test)]
pub fn gpu_for_test(what: &str) -> Option<Device> {
    match open(pipeline::Device::Cuda(0)) {
        Ok(device) => Some(device),
        Err(why) => {
            use std::io::Write as _;
            assert!(std::env::var_os("APPRENTICE_REQUIRE_GPU").is_none(), "{what} needs a GPU: {why:#}");
            // Written here and not printed: what a passing test prints nobody sees.
            let _ = writeln!(std::io::stderr(), "skipped, {what} needs a GPU: {why:#}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_a_missing_gpu_is_named() {
        let cx = Context::detached(std::path::Path::new("."));
        assert!(of(&cx).unwrap().is_cpu());
        let error = of(&cx.on(pipeline::Device::Cuda(97))).expect_err("no machine has so many GPUs");
        let error = format!("{error:#}");
        assert!(error.contains("the GPU `cuda:97` cannot be used\nhelp: "), "{error}");
    }
}
