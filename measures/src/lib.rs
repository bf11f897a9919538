//! What numbers say about numbers: softmax, calibration, intervals, paired counts; and where random ones come from.
