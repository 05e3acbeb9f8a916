"""Vector operations that the compiler does not find by itself: taps along rows, and the sum of a block of pixels.

Written as LLVM vectors rather than left to the compiler's own vectoriser, which stores every partial sum of a run, and
does the short rows of a kernel one by one. Fused multiply-adds round once by definition, so the result is the same on
every processor; one that lacks the instruction computes it in software, slowly.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
STRIP = 32
"""Pixels whose sums are kept at once."""
_FLOAT, _INDEX = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_PARTS = STRIP // LANES
_PIXEL = ir.VectorType(_FLOAT, 4)


def _load(builder: Any, pointer: Any, at: Any) -> Any:
    """Load a vector from an address that is aligned to one float only."""
    vector = builder.load(builder.bitcast(builder.gep(pointer, [at]), _VECTOR.as_pointer()))
    vector.align = 4
    return vector


def _store(builder: Any, vector: Any, pointer: Any, at: Any) -> None:
    builder.store(vector, builder.bitcast(builder.gep(pointer, [at]), _VECTOR.as_pointer())).align = 4


def _spread(builder: Any, value: Any, vector: Any = _VECTOR) -> Any:
    """Copy a float to all lanes."""
    none = ir.Constant(vector, ir.Undefined)
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(builder.insert_element(none, value, ir.Constant(ir.IntType(32), 0)), none, lanes)


def _multiply_add(builder: Any, vector: Any = _VECTOR) -> Any:
    kind = ir.FunctionType(vector, [vector] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{vector.count}f32")


def _place(context: Any, builder: Any, array: Any, y: Any, x: Any) -> tuple[Any, Any]:
    """Index of element (y, x) from an array's first, and how far apart rows are, in floats."""
    pitch = builder.sdiv(cgutils.unpack_tuple(builder, array.strides, 2)[0], _INDEX(4))
    return builder.add(builder.mul(y, pitch), x), pitch


def _are_float32(*arrays: Any) -> bool:
    return all(isinstance(a, types.Array) and a.dtype == types.float32 for a in arrays)


def _sum_taps(builder: Any, values: Any, at: Any, taps: Any, begins: Any, count: Any, sums: list[Any]) -> list[Any]:
    """Loop over the taps of two kernel rows; return what `sums`, first row's before second's, have become."""
    multiply_add = _multiply_add(builder)
    before = builder.block
    loop, done = builder.append_basic_block("taps"), builder.append_basic_block("taps.done")
    builder.branch(loop)
    builder.position_at_end(loop)
    t = builder.phi(_INDEX)
    t.add_incoming(_INDEX(0), before)
    running = [builder.phi(_VECTOR) for _ in sums]
    for phi, start in zip(running, sums, strict=True):
        phi.add_incoming(start, before)
    parts = [_load(builder, values, builder.add(builder.sub(at, t), _INDEX(LANES * k))) for k in range(_PARTS)]
    weights = [_spread(builder, builder.load(builder.gep(taps, [builder.add(begin, t)]))) for begin in begins]
    grown = [
        builder.call(multiply_add, [weights[i // _PARTS], parts[i % _PARTS], phi]) for i, phi in enumerate(running)
    ]
    following = builder.add(t, _INDEX(1))
    t.add_incoming(following, loop)
    for phi, vector in zip(running, grown, strict=True):
        phi.add_incoming(vector, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    builder.position_at_end(done)
    return grown


@intrinsic
def _add_taps_of_two_rows(
    context: Any, values: Any, at: Any, taps: Any, first: Any, second: Any, count: Any, out: Any, y: Any, x: Any
) -> Any:
    """Add to two rows of `out` what `count` taps of each make of a strip of `values`.

    ``out[y, x + j] += sum_t taps[first + t] values[at + j - t]`` and ``out[y + 1, x + j] += sum_t taps[second + t]
    values[at + j - t]`` for j = 0 ... STRIP - 1, t = 0 ... count - 1, taps in that order. `values` (n) and `taps` (m)
    are contiguous float32, `out` (A, B) float32 with contiguous rows; `count` is 1 or more. Nothing checks bounds.
    """
    arrays = (values, taps, out)
    if not _are_float32(*arrays):
        return None
    index = types.int64
    signature = types.void(values, index, taps, index, index, index, out, index, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v, at_, w, first_, second_, count_, o, y_, x_ = arguments
        v, w, o = (context.make_array(kind)(context, builder, a) for kind, a in zip(arrays, (v, w, o), strict=True))
        begin, pitch = _place(context, builder, o, y_, x_)
        places = [
            builder.add(row, _INDEX(LANES * k)) for row in (begin, builder.add(begin, pitch)) for k in range(_PARTS)
        ]
        sums = [_load(builder, o.data, place) for place in places]
        for vector, place in zip(
            _sum_taps(builder, v.data, at_, w.data, (first_, second_), count_, sums), places, strict=True
        ):
            _store(builder, vector, o.data, place)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _add_taps_of_one_pixel(
    context: Any, value: Any, taps: Any, first: Any, count: Any, out: Any, y: Any, x: Any
) -> Any:
    """Add to a row of `out` what `count` taps make of one `value`: ``out[y, x + t] += value * taps[first + t]``.

    `taps` (m) and `out` (A, B) as in `add_taps_of_two_rows`; `count` is a multiple of LANES, 1 or more of them.
    """
    if not _are_float32(taps, out):
        return None
    index = types.int64
    signature = types.void(types.float32, taps, index, index, out, index, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value_, w, first_, count_, o, y_, x_ = arguments
        w, o = (context.make_array(kind)(context, builder, a) for kind, a in ((taps, w), (out, o)))
        begin, _ = _place(context, builder, o, y_, x_)
        factor, multiply_add = _spread(builder, value_), _multiply_add(builder)
        with cgutils.for_range_slice(builder, _INDEX(0), count_, _INDEX(LANES), inc=True) as (t, _):
            at = builder.add(begin, t)
            weights, before = _load(builder, w.data, builder.add(first_, t)), _load(builder, o.data, at)
            _store(builder, builder.call(multiply_add, [factor, weights, before]), o.data, at)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _sum_pixels(
    context: Any, pixels: Any, at: Any, pitch: Any, weights: Any, row: Any, rows: Any, column: Any, columns: Any
) -> Any:
    """Return ``sum_ji weights[row + j] weights[column + i] pixel[at + j pitch + i]``, four float32.

    j = 0 ... rows - 1, i = 0 ... columns - 1, summed in that order. `pixels` (4 n), a pixel being four values in it,
    and `weights` (m) are contiguous float32. Nothing checks bounds.
    """
    if not _are_float32(pixels, weights):
        return None
    index = types.int64
    signature = types.UniTuple(types.float32, 4)(pixels, index, index, weights, index, index, index, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        p, at_, pitch_, w, row_, rows_, column_, columns_ = arguments
        p, w = (context.make_array(kind)(context, builder, a).data for kind, a in ((pixels, p), (weights, w)))
        multiply_add, none = _multiply_add(builder, _PIXEL), ir.Constant(_PIXEL, [0.0] * 4)
        total, along = cgutils.alloca_once_value(builder, none), cgutils.alloca_once_value(builder, none)

        def add(weight: Any, pixel: Any, sum_: Any) -> None:
            factor = _spread(builder, builder.load(builder.gep(w, [weight])), _PIXEL)
            builder.store(builder.call(multiply_add, [factor, pixel, builder.load(sum_)]), sum_)

        with cgutils.for_range(builder, rows_) as j:
            builder.store(none, along)
            begin = builder.add(at_, builder.mul(j.index, pitch_))
            with cgutils.for_range(builder, columns_) as i:
                place = builder.gep(p, [builder.mul(builder.add(begin, i.index), _INDEX(4))])
                pixel = builder.load(builder.bitcast(place, _PIXEL.as_pointer()))
                pixel.align = 4
                add(builder.add(column_, i.index), pixel, along)
            add(builder.add(row_, j.index), builder.load(along), total)
        sums = builder.load(total)
        values = [builder.extract_element(sums, ir.Constant(ir.IntType(32), k)) for k in range(4)]
        return context.make_tuple(builder, signature.return_type, values)

    return signature, generate


# Kernels call them without the typing context that the definitions above receive first.
add_taps_of_two_rows: Any = _add_taps_of_two_rows
add_taps_of_one_pixel: Any = _add_taps_of_one_pixel
sum_pixels: Any = _sum_pixels
