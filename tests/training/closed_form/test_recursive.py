"""The recursive form of ridge regression is the form with sums."""

from __future__ import annotations

import torch

from clsim.training.closed_form.analytic import RidgeSums
from clsim.training.closed_form.recursive import RecursiveRidge


def test_both_forms_give_ridge_regression_on_all_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    phi = torch.randn(40, 7, generator=generator, dtype=torch.float64)
    labels = (torch.rand(40, 3, generator=generator) > 0.7).double()
    labels[:25, 2] = 0.0  # a class of the second task
    forms = RidgeSums(7, 0.3), RecursiveRidge(7, 0.3)
    for form in forms:
        for start, stop, classes in ((0, 10, 2), (10, 25, 2), (25, 40, 3)):
            form.grow(classes)
            form.add(phi[start:stop], labels[start:stop, :classes])
        form.solve()
    expected = torch.linalg.solve(phi.T @ phi + 0.3 * torch.eye(7, dtype=torch.float64), phi.T @ labels)
    for form in forms:
        torch.testing.assert_close(form.weight, expected, rtol=0, atol=1e-12)
