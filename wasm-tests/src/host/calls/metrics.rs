//! Host calls that define and count metrics.

use wasmi::{Error, Linker};

use super::{ENV, Host, call};
use crate::host::{
    memory::{BAD_ARGUMENT, NOT_FOUND, read_name, write},
    vm_state::VmState,
};

pub(super) fn define(linker: &mut Linker<VmState>) -> Result<(), Error> {
    linker.func_wrap(ENV, "proxy_define_metric", define_metric)?;
    linker.func_wrap(ENV, "proxy_increment_metric", increment)?;
    linker.func_wrap(ENV, "proxy_record_metric", record)?;
    Ok(())
}

fn define_metric(mut host: Host<'_>, _kind: u32, name: u32, size: u32, id: u32) -> u32 {
    call(&mut host, "proxy_define_metric", |host| {
        let name = read_name(host, name, size)?;
        let metrics = &mut host.data_mut().metrics;
        let place = metrics.iter().position(|(other, _)| *other == name);
        let place = place.unwrap_or_else(|| {
            metrics.push((name, 0));
            metrics.len() - 1
        });
        write(host, id, &u32::try_from(place).map_err(|_| BAD_ARGUMENT)?.to_le_bytes())
    })
}

fn increment(mut host: Host<'_>, id: u32, offset: u64) -> u32 {
    call(&mut host, "proxy_increment_metric", |host| {
        let metric = host.data_mut().metrics.get_mut(id as usize).ok_or(NOT_FOUND)?;
        metric.1 = metric.1.wrapping_add(offset);
        Ok(())
    })
}

fn record(mut host: Host<'_>, id: u32, value: u64) -> u32 {
    call(&mut host, "proxy_record_metric", |host| {
        host.data_mut().metrics.get_mut(id as usize).ok_or(NOT_FOUND)?.1 = value;
        Ok(())
    })
}
