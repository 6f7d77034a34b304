from swim.cli import main

main()
