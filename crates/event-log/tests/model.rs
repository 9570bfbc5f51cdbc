//! Random interleavings of the embedded log agree with the model.
