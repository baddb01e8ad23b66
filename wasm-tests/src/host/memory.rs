//! The module's memory as host calls use it, and the statuses that they return.

use wasmi::{Caller, Extern};

use super::vm_state::VmState;

/// The VM that makes a host call, and the host's state for it.
pub(super) type Host<'a> = Caller<'a, VmState>;

/// Statuses of the ABI (`proxy_status_t`).
pub(super) const OK: u32 = 0;
pub(super) const NOT_FOUND: u32 = 1;
pub(super) const BAD_ARGUMENT: u32 = 2;
pub(super) const INVALID_MEMORY: u32 = 6;

/// Bytes of the module's memory.
pub(super) fn read(host: &Host<'_>, at: u32, size: u32) -> Result<Vec<u8>, u32> {
    let Some(Extern::Memory(memory)) = host.get_export("memory") else {
        return Err(INVALID_MEMORY);
    };
    let (start, size) = (at as usize, size as usize);
    let bytes = memory.data(host).get(start..start + size);
    bytes.map(<[u8]>::to_vec).ok_or(INVALID_MEMORY)
}

/// The name of a header, in lower case as in Envoy (envoy: `Http::LowerCaseString`).
pub(super) fn read_name(host: &Host<'_>, at: u32, size: u32) -> Result<String, u32> {
    Ok(String::from_utf8_lossy(&read(host, at, size)?).to_lowercase())
}

/// Writes bytes into the module's memory.
pub(super) fn write(host: &mut Host<'_>, at: u32, bytes: &[u8]) -> Result<(), u32> {
    let Some(Extern::Memory(memory)) = host.get_export("memory") else {
        return Err(INVALID_MEMORY);
    };
    memory.write(host, at as usize, bytes).map_err(|_| INVALID_MEMORY)
}

/// Passes bytes to the module, in memory that the module allocates. That is one more entry into the
/// VM, except for zero bytes (CH: src/exports.cc `copyToPointerSize`).
pub(super) fn give(host: &mut Host<'_>, bytes: &[u8], data: u32, returned: u32) -> Result<(), u32> {
    let size = u32::try_from(bytes.len()).map_err(|_| INVALID_MEMORY)?;
    let mut at = 0;
    if size > 0 {
        let Some(Extern::Func(allocate)) = host.get_export("proxy_on_memory_allocate") else {
            return Err(INVALID_MEMORY);
        };
        host.data_mut().entries += 1;
        let allocate = allocate.typed::<u32, u32>(&*host).map_err(|_| INVALID_MEMORY)?;
        at = allocate.call(&mut *host, size).map_err(|_| INVALID_MEMORY)?;
        write(host, at, bytes)?;
    }
    write(host, data, &at.to_le_bytes())?;
    write(host, returned, &size.to_le_bytes())
}

/// A map in the ABI's format: the count, the lengths of each name and value, then their bytes, each
/// followed by a NUL.
pub(super) fn serialize(headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend([number(name.len()), number(value.len())].as_flattened());
    }
    for (name, value) in headers {
        bytes.extend([name.as_bytes(), b"\0", value, b"\0"].concat());
    }
    bytes
}

/// The inverse of [`serialize`]; `None` if the bytes are malformed.
pub(super) fn deserialize(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let number =
        |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?) as usize);
    let count = number(0)?;
    let mut at = 4 + count * 8;
    let mut text = |length: usize| {
        let text = bytes.get(at..at + length)?.to_vec();
        at += length + 1;
        Some(text)
    };
    (0..count)
        .map(|index| {
            let name = text(number(4 + index * 8)?)?;
            Some((String::from_utf8(name).ok()?, text(number(8 + index * 8)?)?))
        })
        .collect()
}
