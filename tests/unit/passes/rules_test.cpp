// Every rewrite rule: an example on which it fires, and the same values on both sides for random inputs.
#include <catch2/catch.hpp>

#include <set>

#include "ir/evaluate.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "passes/rules.h"
#include "tests/unit/passes/support.h"

using namespace gradc;
using namespace gradc::passes;
using ir::Attr;
using ir::ElementType;
using ir::Op;
using ir::Shape;
using ir::Value;

namespace {
// Builds the left side of a rule. Inputs are named by letters and f64 unless told.
struct Maker {
  ir::Builder& b;
  Term x(Shape shape = {3, 4}, ElementType element = ElementType::f64) { return {&b, b.input(std::string(1, next++), {element, shape})}; }
  Term number(double n, Shape shape = {3, 4}, ElementType element = ElementType::f64) { return {&b, b.constant(n, {element, shape})}; }
  Term flag(Shape shape = {3, 4}) { return x(shape) > number(0, shape); }
  Term view(Op op, Term t, ir::Attrs attrs) { return {&b, b.make(op, {t.v}, std::move(attrs))}; }
  Term reshape(Term t, Shape shape) { return view(Op::reshape, t, {{Attr::shape, shape}}); }
  Term transpose(Term t, Shape axes) { return view(Op::transpose, t, {{Attr::axes, axes}}); }
  Term broadcast(Term t, Shape shape, Shape axes) { return view(Op::broadcast, t, {{Attr::shape, shape}, {Attr::axes, axes}}); }
  Term slice(Term t, Shape start, Shape limit, Shape stride) { return view(Op::slice, t, {{Attr::start, start}, {Attr::limit, limit}, {Attr::stride, stride}}); }
  Term pad(Term t, Shape low, Shape high, Shape interior, double value = 0) {
    return view(Op::pad, t, {{Attr::low, low}, {Attr::high, high}, {Attr::interior, interior}, {Attr::value, value}});
  }
  Term reverse(Term t, Shape axes) { return view(Op::reverse, t, {{Attr::axes, axes}}); }
  Term reduce(Op op, Term t, Shape axes) { return view(op, t, {{Attr::axes, axes}}); }
  Term fold(Term t, Shape shape, Shape axes, Shape size, Shape dilation, Shape low, Shape high, Shape stride = {}) {
    if (stride.empty()) stride.assign(axes.size(), 1);
    return view(Op::fold, t, {{Attr::shape, shape}, {Attr::axes, axes}, {Attr::size, size}, {Attr::stride, stride}, {Attr::dilation, dilation}, {Attr::low, low}, {Attr::high, high}});
  }
  Term cast(Term t, ElementType element) { return view(Op::cast, t, {{Attr::element, element}}); }
  Term pow(Term t, double n) { return apply(Op::pow, t, like(n, t)); }
  char next = 'a';
};

struct Example {
  std::string_view rule;
  Term (*build)(Maker);
};

const Example examples[] = {
    // arithmetic
    {"number-right", [](Maker m) { return 3 + m.x(); }},
    {"add-zero", [](Maker m) { return m.x() + 0; }},
    {"add-self", [](Maker m) { Term x = m.x(); return x + x; }},
    {"add-negative", [](Maker m) { Term x = m.x(), y = m.x(); return x + -y; }},
    {"add-negative", [](Maker m) { Term x = m.x(), y = m.x(); return -x + y; }},
    {"add-negative-multiple", [](Maker m) { Term x = m.x(), y = m.x(); return x + y * -3; }},
    {"add-negative-multiple", [](Maker m) { Term x = m.x(), y = m.x(); return x * -3 + y; }},
    {"add-negative-broadcast", [](Maker m) { Term x = m.x(), y = m.x({4}); return x + m.broadcast(-y, {3, 4}, {1}); }},
    {"add-negative-broadcast", [](Maker m) { Term x = m.x({4}), y = m.x(); return m.broadcast(-x, {3, 4}, {1}) + y; }},
    {"sub-zero", [](Maker m) { return m.x() - 0; }},
    {"zero-sub", [](Maker m) { return 0 - m.x(); }},
    {"sub-negative", [](Maker m) { Term x = m.x(), y = m.x(); return x - -y; }},
    {"sub-negative-broadcast", [](Maker m) { Term x = m.x(), y = m.x({4}); return x - m.broadcast(-y, {3, 4}, {1}); }},
    {"sub-negative-multiple", [](Maker m) { Term x = m.x(), y = m.x(); return x - y * -3; }},
    {"neg-neg", [](Maker m) { return -(-m.x()); }},
    {"neg-sub", [](Maker m) { Term x = m.x(), y = m.x(); return -(x - y); }},
    {"neg-multiple", [](Maker m) { return -(m.x() * 3); }},
    {"mul-one", [](Maker m) { return m.x() * 1; }},
    {"mul-minus-one", [](Maker m) { return m.x() * -1; }},
    {"mul-negative", [](Maker m) { return -m.x() * 3; }},
    {"mul-negative", [](Maker m) { Term x = m.x(), y = m.x(); return -x * y; }},
    {"mul-negative", [](Maker m) { Term x = m.x(), y = m.x(); return x * -y; }},
    {"mul-multiple", [](Maker m) { return m.x() * 0.3 * 4; }},
    {"mul-factor-out", [](Maker m) { Term x = m.x(), y = m.x(); return (x * 0.5) * y; }},
    {"mul-factor-out", [](Maker m) { Term x = m.x(), y = m.x(); return x * (y * 0.5); }},
    {"mul-into-broadcast", [](Maker m) { Term x = m.x(), y = m.x({3}); return (x * m.broadcast(y, {3, 4}, {0})) * 0.25; }},
    {"div-one", [](Maker m) { return m.x() / 1; }},
    {"div-negative", [](Maker m) { Term x = m.x(), y = m.x(); return -x / y; }},
    {"div-negative", [](Maker m) { Term x = m.x(), y = m.x(); return x / -y; }},
    {"div-number", [](Maker m) { return m.x() / 255; }},
    {"div-number", [](Maker m) { return m.x({}) / 128; }},
    {"div-scalar", [](Maker m) { Term x = m.x(), s = m.x({}); return x / m.broadcast(s, {3, 4}, {}); }},
    {"div-scalar", [](Maker m) { Term x = m.x({4}, ElementType::f32), s = m.x({}); return x / m.broadcast(m.cast(s, ElementType::f32), {4}, {}); }},
    {"pow-zero", [](Maker m) { return m.pow(m.x(), 0); }},
    {"pow-one", [](Maker m) { return m.pow(m.x(), 1); }},
    {"pow-two", [](Maker m) { return m.pow(m.x(), 2); }},
    {"pow-three", [](Maker m) { return m.pow(m.x(), 3); }},
    {"pow-four", [](Maker m) { return m.pow(m.x(), 4); }},
    {"pow-minus-one", [](Maker m) { return m.pow(m.x(), -1); }},
    {"pow-minus-two", [](Maker m) { return m.pow(m.x(), -2); }},
    {"pow-half", [](Maker m) { return m.pow(apply(Op::abs, m.x()), 0.5); }},
    {"pow-minus-half", [](Maker m) { return m.pow(apply(Op::abs, m.x()), -0.5); }},
    {"inverse-sqrt", [](Maker m) { Term x = m.x(); return like(1, x) / apply(Op::sqrt, apply(Op::abs, x)); }},
    {"abs-squared", [](Maker m) { Term x = apply(Op::abs, m.x()); return x * x; }},
    {"abs-of-sign", [](Maker m) { return apply(Op::abs, -m.x()); }},
    {"abs-of-sign", [](Maker m) { return apply(Op::abs, apply(Op::abs, m.x())); }},
    {"extremum-self", [](Maker m) { Term x = m.x(); return apply(Op::max, x, x); }},
    {"extremum-of-numbers", [](Maker m) { Term x = m.x(); return apply(Op::max, apply(Op::max, x, like(0, x)), like(0.5, x)); }},
    {"extremum-of-numbers", [](Maker m) { Term x = m.x(); return apply(Op::min, apply(Op::min, x, like(0, x)), like(0.5, x)); }},
    // logic
    {"select-same", [](Maker m) { Term x = m.x(); return select(m.flag(), x, x); }},
    {"select-known", [](Maker m) { Term x = m.x(), y = m.x(); return select(m.number(1, {3, 4}, ElementType::boolean), x, y); }},
    {"select-known", [](Maker m) { Term x = m.x(), y = m.x(); return select(m.number(0, {3, 4}, ElementType::boolean), x, y); }},
    {"select-not", [](Maker m) { Term x = m.x(), y = m.x(); return select(apply(Op::not_, m.flag()), x, y); }},
    {"select-again", [](Maker m) { Term c = m.flag(), x = m.x(), y = m.x(), z = m.x(); return select(c, select(c, x, y), z); }},
    {"select-again", [](Maker m) { Term c = m.flag(), x = m.x(), y = m.x(), z = m.x(); return select(c, x, select(c, y, z)); }},
    {"select-negative", [](Maker m) { Term x = m.x(); return select(m.flag(), -x, like(0, x)); }},
    {"select-negative", [](Maker m) { Term x = m.x(); return select(m.flag(), like(0, x), -x); }},
    {"select-bools", [](Maker m) { Term c = m.flag(); return select(c, like(1, c), like(0, c)); }},
    {"select-bools", [](Maker m) { Term c = m.flag(); return select(c, like(0, c), like(1, c)); }},
    {"map-of-choice", [](Maker m) { return m.cast(m.flag(), ElementType::f64) * 3; }},
    {"map-of-choice", [](Maker m) { Term x = m.x(); return like(3, x) / select(m.flag(), like(2, x), like(4, x)); }},
    {"map-of-choice", [](Maker m) { Term x = m.x(); return apply(Op::exp, select(m.flag(), like(2, x), like(4, x))); }},
    {"compare-number-right", [](Maker m) { Term x = m.x(); return like(0.5, x) >= x; }},
    {"compare-negative", [](Maker m) { Term x = m.x(); return -x <= like(0.5, x); }},
    {"not-equal", [](Maker m) { Term x = m.x({4}, ElementType::u8), y = m.x({4}, ElementType::u8); return apply(Op::not_, x == y); }},
    {"not-equal", [](Maker m) { Term x = m.x({4}, ElementType::u8), y = m.x({4}, ElementType::u8); return apply(Op::not_, apply(Op::ne, x, y)); }},
    {"not-not", [](Maker m) { return apply(Op::not_, apply(Op::not_, m.flag())); }},
    {"and-known", [](Maker m) { Term c = m.flag(); return apply(Op::and_, c, like(1, c)); }},
    {"and-known", [](Maker m) { Term c = m.flag(); return apply(Op::and_, c, like(0, c)); }},
    {"or-known", [](Maker m) { Term c = m.flag(); return apply(Op::or_, c, like(1, c)); }},
    {"or-known", [](Maker m) { Term c = m.flag(); return apply(Op::or_, c, c); }},
    {"cast-same", [](Maker m) { return m.cast(m.x(), ElementType::f64); }},
    {"cast-cast", [](Maker m) { return m.cast(m.cast(m.x({4}, ElementType::u8), ElementType::i32), ElementType::f64); }},
    // views
    {"view-of-number", [](Maker m) { return m.reshape(m.number(3), {12}); }},
    {"view-of-number", [](Maker m) { return m.broadcast(m.number(3, {4}), {3, 4}, {1}); }},
    {"reshape-same", [](Maker m) { return m.reshape(m.x(), {3, 4}); }},
    {"reshape-reshape", [](Maker m) { return m.reshape(m.reshape(m.x(), {12}), {2, 6}); }},
    {"transpose-same", [](Maker m) { return m.transpose(m.x(), {0, 1}); }},
    {"transpose-transpose", [](Maker m) { return m.transpose(m.transpose(m.x({2, 3, 4}), {1, 2, 0}), {0, 2, 1}); }},
    {"transpose-of-ones", [](Maker m) { return m.transpose(m.x({3, 1, 4}), {1, 0, 2}); }},
    {"transpose-of-reshape", [](Maker m) { return m.transpose(m.reshape(m.x(), {3, 1, 4}), {2, 1, 0}); }},
    {"broadcast-of-ones", [](Maker m) { return m.broadcast(m.x(), {3, 1, 4}, {0, 2}); }},
    {"broadcast-broadcast", [](Maker m) { return m.broadcast(m.broadcast(m.x({4}), {3, 4}, {1}), {2, 3, 5, 4}, {1, 3}); }},
    {"broadcast-from-ones", [](Maker m) { return m.broadcast(m.x({3, 1}), {2, 3, 1}, {1, 2}); }},
    {"reshape-of-broadcast", [](Maker m) { return m.reshape(m.broadcast(m.x({}), {3, 4}, {}), {12}); }},
    {"reshape-of-broadcast", [](Maker m) { return m.reshape(m.broadcast(m.x({1, 4}), {3, 1, 4}, {1, 2}), {1, 3, 4, 1}); }},
    {"transpose-of-broadcast", [](Maker m) { return m.transpose(m.broadcast(m.x({2, 4}), {2, 3, 4}, {0, 2}), {2, 1, 0}); }},
    {"slice-of-broadcast", [](Maker m) { return m.slice(m.broadcast(m.x({5}), {5, 6}, {0}), {1, 2}, {5, 6}, {2, 3}); }},
    {"reverse-of-broadcast", [](Maker m) { return m.reverse(m.broadcast(m.x({5}), {5, 6}, {0}), {0, 1}); }},
    {"reverse-of-broadcast", [](Maker m) { return m.reverse(m.broadcast(m.x({5}), {5, 6}, {0}), {1}); }},
    {"gather-of-iota", [](Maker m) { return Term{&m.b, m.b.make(Op::gather, {m.x({3, 7}).v, m.b.iota({ElementType::i32, {5}}, 0)}, {{Attr::axis, int64_t{1}}, {Attr::batch, int64_t{0}}})}; }},
    {"gather-of-iota", [](Maker m) { return Term{&m.b, m.b.make(Op::gather, {m.x({7, 3}).v, m.b.map(Op::add, {m.b.iota({ElementType::i32, {5}}, 0), m.b.constant(2, {ElementType::i32, {5}})})}, {{Attr::axis, int64_t{0}}, {Attr::batch, int64_t{0}}})}; }},
    {"slice-all", [](Maker m) { return m.slice(m.x(), {0, 0}, {3, 4}, {1, 1}); }},
    {"slice-slice", [](Maker m) { return m.slice(m.slice(m.x({20}), {1}, {20}, {3}), {1}, {6}, {2}); }},
    {"slice-of-pad", [](Maker m) { return m.slice(m.pad(m.x(), {1, 2}, {0, 3}, {0, 1}), {1, 2}, {4, 9}, {1, 2}); }},
    {"slice-of-pad", [](Maker m) { return m.slice(m.pad(m.x(), {1, 2}, {0, 3}, {0, 1}), {2, 4}, {3, 8}, {1, 4}); }},
    {"pad-nothing", [](Maker m) { return m.pad(m.x(), {0, 0}, {0, 0}, {0, 0}); }},
    {"pad-pad", [](Maker m) { return m.pad(m.pad(m.x(), {1, 0}, {0, 2}, {0, 0}, 7), {2, 1}, {1, 0}, {0, 0}, 7); }},
    {"pad-of-number", [](Maker m) { return m.pad(m.number(7), {1, 0}, {0, 2}, {0, 0}, 7); }},
    {"reverse-of-ones", [](Maker m) { return m.reverse(m.x({3, 1}), {1}); }},
    {"reverse-reverse", [](Maker m) { return m.reverse(m.reverse(m.x(), {0, 1}), {0, 1}); }},
    {"map-of-broadcasts", [](Maker m) { Term x = m.x({}), y = m.x({}); return m.broadcast(x, {3, 4}, {}) * m.broadcast(y, {3, 4}, {}); }},
    {"map-of-broadcasts", [](Maker m) { Term x = m.x({3}), y = m.x({}); return m.broadcast(x, {3, 4}, {0}) / m.broadcast(y, {3, 4}, {}) ; }},
    {"map-of-broadcasts", [](Maker m) { return apply(Op::exp, m.broadcast(m.x({3, 2}), {3, 4, 2}, {0, 2})); }},
    {"map-of-broadcasts", [](Maker m) { return m.broadcast(m.x({4}), {3, 4}, {1}) * 3; }},
    {"map-of-reshapes", [](Maker m) { return apply(Op::sin, m.reshape(m.x(), {12})) ; }},
    {"map-of-reshapes", [](Maker m) { Term s = m.x({}), x = m.reshape(m.x(), {12}), y = m.reshape(m.x(), {12}); return select(x > y, m.broadcast(s, {12}, {}), x); }},
    {"map-of-transposes", [](Maker m) { return m.transpose(m.x(), {1, 0}) * 3; }},
    {"map-of-transposes", [](Maker m) { Term x = m.transpose(m.x(), {1, 0}), y = m.transpose(m.x(), {1, 0}); return x / y; }},
    // reductions
    {"reduce-nothing", [](Maker m) { return m.reduce(Op::reduce_sum, m.x(), {}); }},
    {"reduce-of-ones", [](Maker m) { return m.reduce(Op::reduce_max, m.x({3, 1}), {1}); }},
    {"reduce-of-number", [](Maker m) { return m.reduce(Op::reduce_sum, m.number(0.3), {1}); }},
    {"reduce-of-number", [](Maker m) { return m.reduce(Op::reduce_min, m.number(0.3), {1}); }},
    {"reduce-of-broadcast", [](Maker m) { return m.reduce(Op::reduce_sum, m.broadcast(m.x({3, 4}), {3, 5, 4, 2}, {0, 2}), {0, 1}); }},
    {"reduce-of-broadcast", [](Maker m) { return m.reduce(Op::reduce_mean, m.broadcast(m.x({3, 4}), {3, 5, 4}, {0, 2}), {1, 2}); }},
    {"reduce-of-broadcast", [](Maker m) { return m.reduce(Op::reduce_max, m.broadcast(m.x({3, 4}), {3, 5, 4}, {0, 2}), {1}); }},
    {"reduce-reduce", [](Maker m) { return m.reduce(Op::reduce_sum, m.reduce(Op::reduce_sum, m.x({2, 3, 4}), {1}), {1}); }},
    {"reduce-reduce", [](Maker m) { return m.reduce(Op::reduce_mean, m.reduce(Op::reduce_mean, m.x({2, 3, 4}), {0}), {0, 1}); }},
    {"reduce-all-of-reshape", [](Maker m) { return m.reduce(Op::reduce_sum, m.reshape(m.x(), {2, 6}), {0, 1}); }},
    {"reduce-of-unit-reshape", [](Maker m) { return m.reduce(Op::reduce_sum, m.reshape(m.x(), {1, 3, 1, 4}), {0, 3}); }},
    {"reduce-of-transpose", [](Maker m) { return m.reduce(Op::reduce_sum, m.transpose(m.x({2, 3, 4, 5}), {3, 1, 0, 2}), {1}); }},
    {"reduce-of-negative", [](Maker m) { return m.reduce(Op::reduce_sum, -m.x(), {1}); }},
    {"reduce-of-negative", [](Maker m) { return m.reduce(Op::reduce_max, -m.x(), {1}); }},
    {"sum-of-shared-factor", [](Maker m) { return m.reduce(Op::reduce_sum, m.x() * 0.25, {1}); }},
    {"mean-to-sum", [](Maker m) { return m.reduce(Op::reduce_mean, m.x(), {1}); }},
    // contracts
    {"contract-of-transpose", [](Maker m) { Term x = m.x({3, 4}), y = m.x({3, 5}); return contract("km,kn->mn", m.transpose(m.transpose(x, {1, 0}), {1, 0}), y); }},
    {"contract-of-transpose", [](Maker m) { Term x = m.x({2, 3, 4}), y = m.x({5, 4}); return contract("kbm,kn->bmn", m.transpose(x, {2, 0, 1}), m.transpose(y, {1, 0})); }},
    {"transpose-of-contract", [](Maker m) { Term x = m.x({2, 3, 4}), y = m.x({4, 5}); return m.transpose(contract("bmk,kn->bmn", x, y), {2, 0, 1}); }},
    {"contract-of-ones", [](Maker m) { Term x = m.x({3, 1}), y = m.x({1, 5}); return contract("mk,kn->mn", x, y); }},
    {"contract-of-ones", [](Maker m) { Term x = m.x({1, 4}), y = m.x({4, 5}); return contract("mk,kn->nm", x, y); }},
    {"contract-of-broadcast", [](Maker m) { Term x = m.broadcast(m.x({3}), {3, 4}, {0}), y = m.x({4, 5}); return contract("mk,kn->mn", x, y); }},
    {"contract-of-broadcast", [](Maker m) { Term x = m.x({3, 4}), y = m.broadcast(m.x({4}), {4, 5}, {0}); return contract("mk,kn->nm", x, y); }},
    {"contract-of-broadcast", [](Maker m) { Term x = m.x({2, 3, 4}), y = m.broadcast(m.x({4, 5}), {2, 4, 5}, {1, 2}); return contract("bmk,bkn->bmn", x, y); }},
    {"contract-of-broadcast", [](Maker m) { Term x = m.x({3, 4}), y = m.number(1, {4, 5}); return contract("mk,kn->mn", x, y); }},
    {"contract-to-product", [](Maker m) { Term x = m.x({3}), y = m.x({4}); return contract("i,j->ji", x, y); }},
    {"contract-to-product", [](Maker m) { Term x = m.x({3, 4}), y = m.x({4, 5}); return contract("ij,jk->kij", x, y); }},
    {"contract-of-negative", [](Maker m) { Term x = m.x({3, 4}), y = m.x({4, 5}); return contract("mk,kn->mn", -x, y); }},
    {"contract-of-negative", [](Maker m) { Term x = m.x({3, 4}), y = m.x({4, 5}); return contract("mk,kn->mn", x, -y); }},
    {"contract-of-multiple", [](Maker m) { Term x = m.x({3, 4}), y = m.x({4, 5}); return contract("mk,kn->mn", x * 0.5, y); }},
    {"sum-of-shared-factor", [](Maker m) { return m.reduce(Op::reduce_sum, m.x() * (m.broadcast(m.x({4}), {3, 4}, {1}) * m.x()), {0}); }},
    {"sum-of-shared-factor", [](Maker m) { return m.reduce(Op::reduce_mean, m.broadcast(m.x({3, 2}), {3, 4, 2}, {0, 2}) * m.x({3, 4, 2}), {1}); }},
    {"sum-of-centred", [](Maker m) {
       Term x = m.x({3, 2, 5});
       return m.reduce(Op::reduce_sum, x - m.broadcast(m.reduce(Op::reduce_sum, x, {0, 1}) / 6, {3, 2, 5}, {2}), {0, 1});
     }},
    {"fold-apart", [](Maker m) { return m.fold(m.x({2, 3, 2, 2, 2, 4}), {2, 6, 4, 4}, {1, 2}, {2, 2}, {1, 1}, {0, 0}, {0, 0}, {2, 2}); }},
    {"fold-apart", [](Maker m) { return m.fold(m.x({3, 2, 2, 1, 3}), {8, 5, 3}, {0, 1}, {2, 1}, {1, 1}, {1, 0}, {0, 0}, {3, 4}); }},
    {"fold-apart", [](Maker m) { return m.fold(m.x({4, 2, 2}), {9, 2}, {0}, {2}, {1}, {2}, {1}, {3}); }},
    {"fold-of-contract", [](Maker m) {
       // A 3 x 2 kernel over an 8 x 9 image, padded by 1 and 0, dilated by 1 and 2.
       Term g = m.x({2, 8, 7, 4}), w = m.x({3, 2, 5, 4});
       return m.fold(contract("nijk,uvck->nijuvc", g, w), {2, 8, 9, 5}, {1, 2}, {3, 2}, {1, 2}, {1, 0}, {1, 0});
     }},
    {"fold-of-contract", [](Maker m) {   // a window that covers the input's last column by half, positions that windows leave over
       Term g = m.x({2, 4, 3, 4}), w = m.x({3, 3, 5, 4});
       return m.fold(contract("nijk,uvck->nijuvc", g, w), {2, 9, 6, 5}, {1, 2}, {3, 3}, {1, 1}, {0, 1}, {0, 0}, {2, 2});
     }},
    {"fold-of-contract", [](Maker m) {   // more padding than the window reaches
       Term g = m.x({2, 11, 4}), w = m.x({4, 3, 5});
       return m.fold(contract("nik,kuc->niuc", g, w), {2, 6, 5}, {1}, {3}, {1}, {3}, {4});
     }},
    {"fold-of-contract", [](Maker m) { Term g = m.x({2, 7, 4}), w = m.x({4, 5, 5}); return m.fold(contract("kuc,nik->niuc", w, g), {2, 10, 5}, {1}, {5}, {1}, {7}, {0}, {2}); }},
    {"fold-of-contract", [](Maker m) {   // strides and dilations without a common factor
       Term g = m.x({2, 4, 4, 4}), w = m.x({3, 4, 5, 4});
       return m.fold(contract("nijk,uvck->nijuvc", g, w), {2, 11, 12, 5}, {1, 2}, {3, 4}, {3, 2}, {2, 1}, {1, 3}, {2, 3});
     }},
    {"fold-of-contract", [](Maker m) { Term g = m.x({2, 3, 4}), w = m.x({4, 5, 3}); return m.fold(contract("nik,kuc->niuc", g, w), {2, 30, 3}, {1}, {5}, {6}, {3}, {0}, {4}); }},   // with one
    {"fold-of-contract", [](Maker m) { Term g = m.x({2, 5, 4}), w = m.x({4, 3, 3}); return m.fold(contract("nik,kuc->niuc", g, w), {2, 9, 3}, {1}, {3}, {2}, {2}, {2}, {2}); }},   // half of the result is 0
    {"fold-of-contract", [](Maker m) { Term w = m.x({4, 3}), g = m.x({6, 4, 2}); return m.fold(contract("ku,ikn->niu", w, g), {2, 8}, {1}, {3}, {1}, {0}, {0}); }},
};
}  // namespace

TEST_CASE("both sides of every rule are equal") {
  for (size_t i = 0; i < std::size(examples); ++i) {
    const Example& example = examples[i];
    INFO("rule " << example.rule << ", example " << i);
    const Rule* rule = nullptr;
    for (const Rule& r : all_rules())
      if (r.name == example.rule) rule = &r;
    REQUIRE(rule);
    ir::Function left;
    ir::Builder b(left);
    left.results.push_back({"y", example.build({b})});
    REQUIRE(ir::verify(left) == "");
    ir::Function right = left;
    CHECK(apply_rules(right, {rule, 1}) > 0);
    CHECK(ir::verify(right) == "");
    CHECK(right.type(right.results[0].value) == left.type(left.results[0].value));
    for (uint64_t seed = 1; seed <= 3; ++seed) check_same_values(left, right, seed, 1e-6);
    optimize(right);   // ends, and means the same
    CHECK(ir::verify(right) == "");
    check_same_values(left, right, 4, 1e-6);
  }
}

TEST_CASE("every rule has an example and a name of its own") {
  std::set<std::string_view> named, shown;
  for (const Example& example : examples) shown.insert(example.rule);
  for (const Rule& rule : all_rules()) {
    INFO("rule " << rule.name);
    CHECK(named.insert(rule.name).second);
    CHECK(shown.count(rule.name));
  }
}
