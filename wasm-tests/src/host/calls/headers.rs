//! Host calls that read and change headers.

use wasmi::{Error, Linker};

use super::{ENV, Host, call};
use crate::host::{
    memory::{BAD_ARGUMENT, NOT_FOUND, give, read, read_name, serialize},
    vm_state::VmState,
};

pub(super) fn define(linker: &mut Linker<VmState>) -> Result<(), Error> {
    linker.func_wrap(ENV, "proxy_get_header_map_value", get_value)?;
    linker.func_wrap(ENV, "proxy_get_header_map_pairs", get_pairs)?;
    linker.func_wrap(ENV, "proxy_add_header_map_value", add_value)?;
    linker.func_wrap(ENV, "proxy_replace_header_map_value", replace_value)?;
    linker.func_wrap(ENV, "proxy_remove_header_map_value", remove_value)?;
    Ok(())
}

/// The first line only (ctx: `getHeaderMapValue`).
fn get_value(mut host: Host<'_>, map: u32, key: u32, size: u32, data: u32, returned: u32) -> u32 {
    call(&mut host, "proxy_get_header_map_value", |host| {
        let name = read_name(host, key, size)?;
        let headers = host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?;
        let found = headers.iter().find(|(other, _)| *other == name);
        let value = found.map(|(_, value)| value.clone()).ok_or(NOT_FOUND)?;
        give(host, &value, data, returned)
    })
}

fn get_pairs(mut host: Host<'_>, map: u32, data: u32, returned: u32) -> u32 {
    call(&mut host, "proxy_get_header_map_pairs", |host| {
        let headers = host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?;
        let bytes = serialize(headers);
        give(host, &bytes, data, returned)
    })
}

fn add_value(
    mut host: Host<'_>,
    map: u32,
    key: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> u32 {
    call(&mut host, "proxy_add_header_map_value", |host| {
        let (name, value) = (read_name(host, key, size)?, read(host, value, value_size)?);
        host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?.push((name, value));
        Ok(())
    })
}

/// One line remains, in the place of the first (envoy: `HeaderMapImpl::setCopy`).
fn replace_value(
    mut host: Host<'_>,
    map: u32,
    key: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> u32 {
    call(&mut host, "proxy_replace_header_map_value", |host| {
        let (name, value) = (read_name(host, key, size)?, read(host, value, value_size)?);
        let headers = host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?;
        match headers.iter().position(|(other, _)| *other == name) {
            Some(place) => {
                headers[place].1 = value;
                let mut index = 0;
                headers.retain(|(other, _)| {
                    index += 1;
                    *other != name || index == place + 1
                });
            }
            None => headers.push((name, value)),
        }
        Ok(())
    })
}

fn remove_value(mut host: Host<'_>, map: u32, key: u32, size: u32) -> u32 {
    call(&mut host, "proxy_remove_header_map_value", |host| {
        let name = read_name(host, key, size)?;
        let headers = host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?;
        headers.retain(|(other, _)| *other != name);
        Ok(())
    })
}
