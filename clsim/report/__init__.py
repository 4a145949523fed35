"""Run folders read back and compared: tables, tests, figures, the report page, mean curves, TensorBoard."""
