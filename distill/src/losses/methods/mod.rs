//! The methods, one file each: its mathematics as plain functions, its settings, its entry in the catalogue.

pub mod at;
pub mod channel;
pub mod crd;
pub mod cross_entropy;
pub mod dist;
pub mod dkd;
pub mod dtd;
pub mod feed;
pub mod fitnets;
pub mod gacd;
pub mod kd;
pub mod meal;
pub mod mlkd;
pub mod nkd;
pub mod nst;
pub mod pkt;
pub mod pld;
pub mod ps_kd;
pub mod review;
pub mod rkd;
pub mod sp;
pub mod tf_kd;
pub mod ttm;
pub mod vid;
pub mod wkd_f;
pub mod wkd_l;
