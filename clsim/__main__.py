from clsim.cli import main

main()
