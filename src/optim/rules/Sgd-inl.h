// See Adam-inl.h for how rules are written.

struct SgdRule {
  using Coefficients = SgdCoefficients;
  static constexpr int slots = 0;
  static constexpr bool positive[] = {false};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M*, const C& c) {
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    add_(param, grad, -c.lr);
  }
};

struct SgdMomentumRule {
  using Coefficients = SgdCoefficients;
  static constexpr int slots = 1;
  static constexpr bool positive[] = {false};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    mul_(s[0], c.momentum);
    add_(s[0], grad, c.input);
    if (c.nesterov != 0) {
      add_(grad, s[0], c.momentum);
      add_(param, grad, -c.lr);
    } else {
      add_(param, s[0], -c.lr);
    }
  }
};
