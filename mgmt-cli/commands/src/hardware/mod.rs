//! Hardware control: power, boot device, identify light, inventory, sensors, event log, settings of
//! service processors, and consoles. What nodes have in common is in [`jobs`].

mod conserver;
pub mod console;
pub mod getmacs;
mod goconserver;
mod held;
mod jobs;
pub mod makeconservercf;
pub mod makegocons;
pub mod rbeacon;
pub mod rbootseq;
pub mod rcons;
pub mod renergy;
pub mod replaycons;
pub mod reventlog;
pub mod rinstall;
pub mod rinv;
pub mod ripmi;
pub mod rnetboot;
pub mod rpower;
pub mod rsetboot;
pub mod rspconfig;
pub mod rspreset;
pub mod rvitals;
mod values;
mod wait;
