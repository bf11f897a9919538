//! A network that learns: by its own parameters, or, where these are whole numbers, by the floats behind them.

use std::collections::BTreeSet;

use attar_compress::Latent;
use attar_exec::{Network, Params, Slots};
use attar_formats::checkpoint;
use attar_models::Graph;
use candle_core::Device;

use crate::error::Result;

/// A network that learns.
pub(in crate::run) struct Student {
    /// Of its parameters: nothing for the one that is exported, `peers.<name>.` for a peer.
    pub(in crate::run) prefix: String,
    pub(in crate::run) network: Network,
    /// Of a network in integers, what it learns by.
    pub(in crate::run) latent: Option<Latent>,
}

impl Student {
    /// The student that is exported.
    pub(in crate::run) fn exported(network: Network) -> Self {
        Self { prefix: String::new(), network, latent: None }
    }

    /// The same, which learns by these floats.
    pub(in crate::run) fn in_integers(mut self, latent: Option<Latent>) -> Self {
        self.latent = latent;
        self.fix(BTreeSet::new());
        self
    }

    /// A peer with fresh parameters of its own, other than those of the student.
    pub(in crate::run) fn peer(name: &str, graph: Graph, seed: u64, device: &Device) -> Result<Self> {
        let prefix = checkpoint::peer(name);
        let params = Params::init(&graph, seed, &prefix, device)?;
        Ok(Self { network: Network::new(graph, params, device)?, prefix, latent: None })
    }

    /// What optimisers move.
    pub(in crate::run) fn learned(&self) -> &Params {
        self.latent.as_ref().map_or_else(|| self.network.params(), Latent::params)
    }

    /// What optimisers move; [`Student::settle`] comes after.
    pub(in crate::run) fn learned_mut(&mut self) -> &mut Params {
        match &mut self.latent {
            Some(latent) => latent.params_mut(),
            None => self.network.params_mut(),
        }
    }

    /// Lets the network follow what has moved.
    pub(in crate::run) fn settle(&mut self) -> Result<()> {
        match &self.latent {
            Some(latent) => Ok(latent.settle(latent.params(), &mut self.network)?),
            None => Ok(()),
        }
    }

    /// Lets another such network be that of `learned`, which are like those that optimisers move.
    pub(in crate::run) fn take_into(&self, learned: &Params, network: &mut Network) -> Result<()> {
        match &self.latent {
            Some(latent) => Ok(latent.settle(learned, network)?),
            None => Ok(network.params_mut().take(learned)?),
        }
    }

    /// Gradients of what optimisers move, from those of the network's parameters.
    pub(in crate::run) fn gradients(&self, found: Slots) -> Result<Slots> {
        match &self.latent {
            Some(latent) => Ok(latent.gradients(&self.network, &found)?),
            None => Ok(found),
        }
    }

    /// Tells the network which of its parameters stay as they are: these, and those that do not learn in integers.
    pub(in crate::run) fn fix(&mut self, frozen: BTreeSet<String>) {
        match &self.latent {
            Some(latent) => latent.let_learn(&mut self.network, frozen),
            None => self.network.fix(&frozen),
        }
    }
}
