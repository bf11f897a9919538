//! A node of Candle's graph whose value is known already: only the way back is recorded.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor};

/// A value, and the function from its gradient to those of its `N` arguments.
pub(in crate::losses) struct Recorded<const N: usize> {
    name: &'static str,
    value: Tensor,
    backward: Box<Backward<N>>,
}

type Backward<const N: usize> = dyn Fn(&Tensor) -> crate::Result<[Tensor; N]> + Send + Sync;

impl<const N: usize> Recorded<N> {
    pub(in crate::losses) fn new(
        name: &'static str,
        value: Tensor,
        backward: impl Fn(&Tensor) -> crate::Result<[Tensor; N]> + Send + Sync + 'static,
    ) -> Self {
        Self { name, value, backward: Box::new(backward) }
    }

    /// A copy of the value's storage, in order.
    fn storage<S: BackendStorage>(&self, own: fn(&Storage) -> Option<&S>) -> Result<(S, Shape)> {
        let value = self.value.contiguous()?; // nothing but a permuted value is copied here
        let (storage, layout) = value.storage_and_layout();
        let elsewhere = || candle_core::Error::Msg(format!("{}: operands live on different devices", self.name));
        Ok((own(&storage).ok_or_else(elsewhere)?.try_clone(layout)?, value.shape().clone()))
    }

    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        self.storage(|storage| if let Storage::Cpu(own) = storage { Some(own) } else { None })
    }

    fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        self.storage(|storage| if let Storage::Cuda(own) = storage { Some(own) } else { None })
    }

    fn gradients(&self, dy: &Tensor) -> Result<[Tensor; N]> {
        (self.backward)(&dy.detach()).map_err(candle_core::Error::wrap)
    }
}

impl CustomOp1 for Recorded<1> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let [a] = self.gradients(dy)?;
        Ok(Some(a))
    }
}

impl CustomOp2 for Recorded<2> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.gradients(dy)?;
        Ok((Some(a), Some(b)))
    }
}

impl CustomOp3 for Recorded<3> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.gradients(dy)?;
        Ok((Some(a), Some(b), Some(c)))
    }
}
