//! How a network runs and learns on tensors: executor, operations, parameters, optimisers.
