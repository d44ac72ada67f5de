// See Adam-inl.h for how rules are written.

struct LionRule {
  using Coefficients = LionCoefficients;
  static constexpr int slots = 1;
  static constexpr bool positive[] = {false};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    M direction = copy(s[0]);
    lerp_(direction, grad, c.one_minus_beta1);
    sign_(direction);
    if (c.shrink != 1) mul_(param, c.shrink);
    add_(param, direction, -c.lr);
    lerp_(s[0], grad, c.one_minus_beta2);
  }
};

struct AdemamixRule {
  using Coefficients = AdemamixCoefficients;
  static constexpr int slots = 3;
  static constexpr bool positive[] = {false, false, true};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.shrink != 1) mul_(param, c.shrink);
    lerp_(s[0], grad, c.one_minus_beta1);
    lerp_(s[1], grad, c.one_minus_beta3);
    mul_(s[2], c.beta2);
    addcmul_(s[2], grad, grad, c.one_minus_beta2);
    M size = root(s[2]);
    div_(size, c.bias2_root);
    add_(size, c.eps);
    M direction = copy(s[0]);
    div_(direction, c.bias1);
    add_(direction, s[1], c.alpha);
    addcdiv_(param, direction, size, -c.lr);
  }
};

// The parameters are y, where the gradient is taken; s[0] is z, which makes the steps. The average x is implied.
struct ScheduleFreeAdamwRule {
  using Coefficients = ScheduleFreeCoefficients;
  static constexpr int slots = 2;
  static constexpr bool positive[] = {false, true};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    mul_(s[1], c.beta2);
    addcmul_(s[1], grad, grad, c.one_minus_beta2);
    M size = root(s[1]);
    add_(size, c.eps);
    M direction = copy(grad);
    div_(direction, size);
    if (c.weight_decay != 0) add_(direction, param, c.weight_decay);
    lerp_(param, s[0], c.average);
    add_(param, direction, c.along);
    add_(s[0], direction, -c.step_size);
  }
};

struct ScheduleFreeSgdRule {
  using Coefficients = ScheduleFreeCoefficients;
  static constexpr int slots = 1;
  static constexpr bool positive[] = {false};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    lerp_(param, s[0], c.average);
    add_(param, grad, c.along);
    add_(s[0], grad, -c.step_size);
  }
};
