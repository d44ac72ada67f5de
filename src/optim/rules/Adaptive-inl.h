// See Adam-inl.h for how rules are written.

template <bool centered, bool momentum>
struct RmspropRule {
  using Coefficients = RmspropCoefficients;
  static constexpr int slots = 1 + (momentum ? 1 : 0) + (centered ? 1 : 0);
  static constexpr int places[] = {0, momentum ? 1 : 2, 2};  // square_avg, momentum_buffer, grad_avg
  static constexpr bool positive[] = {true, false, false};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    mul_(s[0], c.alpha);
    addcmul_(s[0], grad, grad, c.one_minus_alpha);
    M size = copy(s[0]);
    if constexpr (centered) {
      M& grad_avg = s[slots - 1];
      lerp_(grad_avg, grad, c.one_minus_alpha);
      addcmul_(size, grad_avg, grad_avg, -1);
    }
    sqrt_(size);
    add_(size, c.eps);
    if constexpr (momentum) {
      mul_(s[1], c.momentum);
      addcdiv_(s[1], grad, size, 1);
      add_(param, s[1], -c.lr);
    } else {
      addcdiv_(param, grad, size, -c.lr);
    }
  }
};

struct AdagradRule {
  using Coefficients = AdagradCoefficients;
  static constexpr int slots = 1;
  static constexpr bool positive[] = {true};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    addcmul_(s[0], grad, grad, 1);
    M size = root(s[0]);
    add_(size, c.eps);
    addcdiv_(param, grad, size, -c.lr);
  }
};

struct AdadeltaRule {
  using Coefficients = AdadeltaCoefficients;
  static constexpr int slots = 2;
  static constexpr bool positive[] = {true, true};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    mul_(s[0], c.rho);
    addcmul_(s[0], grad, grad, c.one_minus_rho);
    M size = copy(s[0]);
    add_(size, c.eps);
    sqrt_(size);
    M delta = copy(s[1]);
    add_(delta, c.eps);
    sqrt_(delta);
    div_(delta, size);
    mul_(delta, grad);
    mul_(s[1], c.rho);
    addcmul_(s[1], delta, delta, c.one_minus_rho);
    add_(param, delta, -c.lr);
  }
};

struct AdamaxRule {
  using Coefficients = AdamaxCoefficients;
  static constexpr int slots = 2;
  static constexpr bool positive[] = {false, true};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    lerp_(s[0], grad, c.one_minus_beta1);
    mul_(s[1], c.beta2);
    M size = copy(grad);
    abs_(size);
    add_(size, c.eps);
    maximum_(s[1], size);
    addcdiv_(param, s[0], s[1], -c.step_size);
  }
};

struct NadamRule {
  using Coefficients = NadamCoefficients;
  static constexpr int slots = 2;
  static constexpr bool positive[] = {false, true};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.shrink != 1) mul_(param, c.shrink);
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    lerp_(s[0], grad, c.one_minus_beta1);
    mul_(s[1], c.beta2);
    addcmul_(s[1], grad, grad, c.one_minus_beta2);
    M size = copy(s[1]);
    div_(size, c.bias2);
    sqrt_(size);
    add_(size, c.eps);
    addcdiv_(param, grad, size, -c.grad_step);
    addcdiv_(param, s[0], size, -c.momentum_step);
  }
};

struct RadamRule {
  using Coefficients = RadamCoefficients;
  static constexpr int slots = 2;
  static constexpr bool positive[] = {false, true};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.shrink != 1) mul_(param, c.shrink);
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    lerp_(s[0], grad, c.one_minus_beta1);
    mul_(s[1], c.beta2);
    addcmul_(s[1], grad, grad, c.one_minus_beta2);
    M update = copy(s[0]);
    div_(update, c.bias1);
    mul_(update, c.lr);
    if (c.rectified != 0) {
      M size = root(s[1]);
      add_(size, c.eps);
      mul_(update, quotient(c.bias2_root, size));
      mul_(update, c.rectified);
    }
    add_(param, update, -1);
  }
};

struct AsgdRule {
  using Coefficients = AsgdCoefficients;
  static constexpr int slots = 1;
  static constexpr bool positive[] = {false};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    if (c.weight_decay != 0) add_(grad, param, c.weight_decay);
    mul_(param, c.shrink);
    add_(param, grad, -c.eta);
    if (is_one(c.mu)) {
      assign_(s[0], param);
    } else {
      M difference = copy(param);
      add_(difference, s[0], -1);
      mul_(difference, c.mu);
      add_(s[0], difference, 1);
    }
  }
};

struct RpropRule {
  using Coefficients = RpropCoefficients;
  static constexpr int slots = 2;
  static constexpr bool positive[] = {false, true};

  template <class M, class C>
  static HWY_INLINE void update(M& param, M& grad, M* s, const C& c) {
    M agreement = copy(grad);
    mul_(agreement, s[0]);
    mul_(s[1], by_sign(agreement, c.eta_plus, c.eta_minus, 1));
    clamp_(s[1], c.step_min, c.step_max);
    zero_where_negative_(grad, agreement);
    M direction = copy(grad);
    sign_(direction);
    addcmul_(param, direction, s[1], -1);
    assign_(s[0], grad);
  }
};
