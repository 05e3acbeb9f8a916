// Reads all of a split's arrays with zarrita and prints them as JSON: node read.mjs FOLDER-OR-URL NAME...
import { FileSystemStore } from "@zarrita/storage";
import * as zarr from "zarrita";

// Where JavaScript has no float16 yet, its bits are read as uint16.
globalThis.Float16Array ??= Uint16Array;

const [where, ...names] = process.argv.slice(2);
const store = where.startsWith("http") ? new zarr.FetchStore(where) : new FileSystemStore(where);
const root = await zarr.open.v3(store, { kind: "group" });
const arrays = {};
for (const name of names) {
  const array = await zarr.open.v3(root.resolve(name), { kind: "array" });
  const { data, shape } = await zarr.get(array);
  const bytes = data.buffer === undefined ? Uint8Array.from(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const row = await zarr.get(array, [array.shape[0] - 1, ...array.shape.slice(1).map(() => null)]);
  arrays[name] = {
    shape, dtype: array.dtype, chunks: array.chunks, dims: array.dimensionNames, attributes: array.attrs,
    fill: String(array.fillValue), last: row.shape ?? [], data: Buffer.from(bytes).toString("base64"),
  };
}
console.log(JSON.stringify({ attributes: root.attrs, arrays }));
