//! What a CPU does: convolution, batch norm and pooling on plain slices.
