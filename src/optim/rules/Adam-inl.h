// Update rules, written once: for vectors (engine/Value-inl.h, inside each instruction set's namespace) and for lists
// of tensors (engine/Lists.h). The includer gives the namespace, so there is no include guard. C is Coefficients, or
// for lists the same with tensors where a number depends on the step.

struct AdamRule {
  using Coefficients = AdamCoefficients;
  static constexpr int slots = 2;
  static constexpr bool positive[] = {false, true};

  template <class M, class C>
  static HWY_INLINE void moments(M& param, M& grad, M* s, const C& c) {
    if (c.shrink != 1) mul_(param, c.shrink);
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    lerp_(s[0], grad, c.one_minus_beta1);
    mul_(s[1], c.beta2);
    addcmul_(s[1], grad, grad, c.one_minus_beta2);
  }
  template <class M, class C>
  static HWY_INLINE void apply(M& param, const M& exp_avg, const M& exp_avg_sq, const C& c) {
    M denominator = root(exp_avg_sq);
    mul_(denominator, c.inverse_bias2_root);  // half a unit in the last place from the quotient, and much faster
    add_(denominator, c.eps);
    addcdiv_(param, exp_avg, denominator, -c.step_size);
  }
  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    moments(param, grad, s, c);
    apply(param, s[0], s[1], c);
  }
};

struct AdamAmsgradRule {
  using Coefficients = AdamCoefficients;
  static constexpr int slots = 3;
  static constexpr bool positive[] = {false, true, true};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    AdamRule::moments(param, grad, s, c);
    maximum_(s[2], s[1]);
    AdamRule::apply(param, s[0], s[2], c);
  }
};
